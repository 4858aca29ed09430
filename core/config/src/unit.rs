//! Durations, byte sizes and fractions as people write them. A bare number is refused with the fix in the message;
//! nothing is rounded.

use hilum_engine::Span;

use crate::diagnose::{Mistake, quote};

/// Units of time, longest first. A text names them in this order, each at most once.
const TIME: [(&str, u64); 7] = [
    ("d", 86_400_000_000_000),
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

/// Units of size, largest first.
const SIZE: [(&str, u64); 8] = [
    ("GiB", 1 << 30),
    ("GB", 1_000_000_000),
    ("MiB", 1 << 20),
    ("MB", 1_000_000),
    ("KiB", 1 << 10),
    ("KB", 1_000),
    ("kB", 1_000),
    ("B", 1),
];

/// Longest duration a text may say. **Units:** nanoseconds; ten years. Far above any use, and so far below the largest
/// [`Span`] that sums of several stay in range, as do the signed nanoseconds of timerfd_create(2). Doubled, both still
/// hold.
const LONGEST: u64 = 10 * 365 * 86_400_000_000_000;

/// The duration `text` says: `10s`, `500ms`, `1m30s`, `1.5h`; units `ns us ms s m h d`, at most ten years.
///
/// **Errors:** a [`Mistake`] that shows what was found and how to write it.
pub fn parse_duration(text: &str) -> Result<Span, Mistake> {
    let found = quote(text);
    let general =
        || Mistake::new(format!("{found} is not a duration"), "write a number and a unit, as \"10s\" or \"1m30s\"");
    let mut rest = text;
    let mut total: u64 = 0;
    let mut units = TIME.as_slice();
    if rest.starts_with('-') {
        return Err(Mistake::new(format!("{found} is negative"), "write a duration of zero or more, as \"10s\""));
    }
    while !rest.is_empty() {
        let (whole, fraction, tail) = split_number(rest).ok_or_else(general)?;
        let end = tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len());
        let (name, next) = tail.split_at_checked(end).unwrap_or((tail, ""));
        if name.is_empty() {
            return Err(if tail.is_empty() {
                Mistake::new(format!("{found} has no unit"), format!("write {}", quote(&format!("{text}s"))))
            } else {
                general()
            });
        }
        let Some(position) = units.iter().position(|(unit, _)| *unit == name) else {
            return Err(if TIME.iter().any(|(unit, _)| *unit == name) {
                Mistake::new(
                    format!("{found} has its units out of order"),
                    "write the longest first and each once, as \"1m30s\"",
                )
            } else {
                Mistake::new(
                    format!("{found} has an unknown unit {}", quote(name)),
                    "write one of ns, us, ms, s, m, h, d, as \"10s\"",
                )
            });
        };
        let (_, scale) = units.get(position).copied().unwrap_or(("", 1));
        units = units.get(position + 1..).unwrap_or_default();
        let too_long = || Mistake::new(format!("{found} is longer than ten years"), "write a shorter duration");
        let base = whole.parse::<u64>().ok().and_then(|count| count.checked_mul(scale)).ok_or_else(too_long)?;
        let part = part_of(fraction, scale).ok_or_else(|| {
            Mistake::new(format!("{found} is not a whole number of nanoseconds"), "write fewer decimals")
        })?;
        let value = base.checked_add(part).ok_or_else(too_long)?;
        total = total.checked_add(value).filter(|sum| *sum <= LONGEST).ok_or_else(too_long)?;
        rest = next;
    }
    if text.is_empty() { Err(general()) } else { Ok(Span(total)) }
}

/// The shortest exact text for `span` that [`parse_duration`] takes: `1m30s`, `0s`.
#[must_use]
pub fn format_duration(span: Span) -> String {
    let mut rest = span.0;
    let mut text = String::new();
    for (unit, scale) in TIME {
        // Nobody reads "2d2h" faster than "50h".
        if unit != "d" && rest >= scale {
            text.push_str(&format!("{}{unit}", rest / scale));
            rest %= scale;
        }
    }
    if text.is_empty() { String::from("0s") } else { text }
}

/// The number of bytes `text` says: `4MiB` and `512KiB` count in 1,024s, `4MB` and `512kB` in 1,000s, `100B` in ones.
///
/// **Errors:** a [`Mistake`] that shows what was found and how to write it.
pub fn parse_size(text: &str) -> Result<u64, Mistake> {
    let found = quote(text);
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(end).unwrap_or((text, ""));
    if number.is_empty() {
        return Err(Mistake::new(
            format!("{found} is not a size"),
            "write a whole number and a unit, as \"4MiB\" or \"512KiB\"",
        ));
    }
    if unit.is_empty() {
        return Err(Mistake::new(format!("{found} has no unit"), format!("write {}", quote(&format!("{text}MiB")))));
    }
    let Some((_, scale)) = SIZE.iter().find(|(name, _)| *name == unit) else {
        return Err(Mistake::new(
            format!("{found} has an unknown unit {}", quote(unit)),
            "write one of B, kB, KiB, MB, MiB, GB, GiB after a whole number, as \"4MiB\"",
        ));
    };
    number
        .parse::<u64>()
        .ok()
        .and_then(|count| count.checked_mul(*scale))
        .ok_or_else(|| Mistake::new(format!("{found} is too large"), "write a smaller size"))
}

/// The shortest exact text for `bytes` that [`parse_size`] takes.
#[must_use]
pub fn format_size(bytes: u64) -> String {
    let unit = SIZE.iter().find(|(_, scale)| bytes > 0 && bytes.is_multiple_of(*scale));
    let (name, scale) = unit.copied().unwrap_or(("B", 1));
    format!("{}{name}", bytes / scale)
}

/// A decimal number of at most three decimals, in thousandths.
pub(crate) fn parse_thousandths(text: &str) -> Option<u32> {
    let text = text.strip_prefix('+').unwrap_or(text);
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let fraction = fraction.trim_end_matches('0');
    if !digits(whole) || fraction.len() > 3 || !(fraction.is_empty() || digits(fraction)) {
        return None;
    }
    // A whole part beyond the type is a plain number all the same: one too large for every range.
    let whole = whole.parse::<u32>().unwrap_or(u32::MAX);
    let part = format!("{fraction:0<3}").parse::<u32>().ok()?;
    Some(whole.saturating_mul(1_000).saturating_add(part))
}

/// The shortest decimal for a number of thousandths.
pub(crate) fn format_thousandths(thousandths: u32) -> String {
    let text = format!("{}.{:03}", thousandths / 1_000, thousandths % 1_000);
    String::from(text.trim_end_matches('0').trim_end_matches('.'))
}

/// Splits `12.50rest` into `12`, `50` and `rest`. The fraction is empty without a point.
fn split_number(text: &str) -> Option<(&str, &str, &str)> {
    let digits = |text: &str| text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (whole, tail) = text.split_at_checked(digits(text))?;
    if whole.is_empty() {
        return None;
    }
    let Some(after_point) = tail.strip_prefix('.') else {
        return Some((whole, "", tail));
    };
    let (fraction, tail) = after_point.split_at_checked(digits(after_point))?;
    if fraction.is_empty() { None } else { Some((whole, fraction, tail)) }
}

/// `0.fraction` times `scale`; `None` if that is no whole number.
fn part_of(fraction: &str, scale: u64) -> Option<u64> {
    let fraction = fraction.trim_end_matches('0');
    if fraction.is_empty() {
        return Some(0);
    }
    let parts = 10_u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let product = fraction.parse::<u128>().ok()?.checked_mul(u128::from(scale))?;
    if product.is_multiple_of(parts) { u64::try_from(product / parts).ok() } else { None }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed test is what a panic here is for")]
    use super::{format_duration, format_size, format_thousandths, parse_duration, parse_size, parse_thousandths};
    use hilum_engine::Span;

    #[test]
    fn durations_are_exact() {
        for (text, nanos) in [
            ("10s", 10_000_000_000),
            ("500ms", 500_000_000),
            ("1m30s", 90_000_000_000),
            ("2h", 7_200_000_000_000),
            ("1d", 86_400_000_000_000),
            ("1.5h", 5_400_000_000_000),
            ("0.000000001s", 1),
            ("1.500s", 1_500_000_000),
            ("0s", 0),
            ("007s", 7_000_000_000),
            ("1s500ms250us3ns", 1_500_250_003),
        ] {
            assert_eq!(parse_duration(text), Ok(Span(nanos)), "{text}");
        }
    }

    #[test]
    fn bad_durations_show_the_fix() {
        for (text, message) in [
            ("10", r#""10" has no unit; write "10s""#),
            ("1m30", r#""1m30" has no unit; write "1m30s""#),
            ("1.5", r#""1.5" has no unit; write "1.5s""#),
            ("", r#""" is not a duration; write a number and a unit, as "10s" or "1m30s""#),
            ("s", r#""s" is not a duration; write a number and a unit, as "10s" or "1m30s""#),
            ("10 s", r#""10 s" is not a duration; write a number and a unit, as "10s" or "1m30s""#),
            ("1.s", r#""1.s" is not a duration; write a number and a unit, as "10s" or "1m30s""#),
            ("-1s", r#""-1s" is negative; write a duration of zero or more, as "10s""#),
            ("1s1m", r#""1s1m" has its units out of order; write the longest first and each once, as "1m30s""#),
            ("1s1s", r#""1s1s" has its units out of order; write the longest first and each once, as "1m30s""#),
            ("3w", r#""3w" has an unknown unit "w"; write one of ns, us, ms, s, m, h, d, as "10s""#),
            ("10S", r#""10S" has an unknown unit "S"; write one of ns, us, ms, s, m, h, d, as "10s""#),
            ("3651d", r#""3651d" is longer than ten years; write a shorter duration"#),
            ("99999999999999999999s", r#""99999999999999999999s" is longer than ten years; write a shorter duration"#),
            ("0.5ns", r#""0.5ns" is not a whole number of nanoseconds; write fewer decimals"#),
        ] {
            assert_eq!(parse_duration(text).unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn sizes_are_exact() {
        for (text, bytes) in [
            ("4MiB", 4 << 20),
            ("4MB", 4_000_000),
            ("512KiB", 512 << 10),
            ("512kB", 512_000),
            ("2GiB", 2 << 30),
            ("100B", 100),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn bad_sizes_show_the_fix() {
        for (text, message) in [
            ("4", r#""4" has no unit; write "4MiB""#),
            (
                "4M",
                r#""4M" has an unknown unit "M"; write one of B, kB, KiB, MB, MiB, GB, GiB after a whole number, as "4MiB""#,
            ),
            ("MiB", r#""MiB" is not a size; write a whole number and a unit, as "4MiB" or "512KiB""#),
            ("99999999999GiB", r#""99999999999GiB" is too large; write a smaller size"#),
        ] {
            assert_eq!(parse_size(text).unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn what_is_written_reads_back() {
        for nanos in [0, 1, 999, 1_000, 1_500_000_000, 90_000_000_000, 86_400_000_000_000, super::LONGEST] {
            assert_eq!(parse_duration(&format_duration(Span(nanos))), Ok(Span(nanos)));
        }
        for bytes in [0, 1, 999, 1_000, 1_024, 4 << 20, 4_000_000, 4 << 30, u64::MAX] {
            assert_eq!(parse_size(&format_size(bytes)), Ok(bytes));
        }
    }

    #[test]
    fn thousandths_are_exact() {
        for (text, thousandths) in
            [("2", 2_000), ("1.5", 1_500), ("0.125", 125), ("1.000", 1_000), ("+1.0", 1_000), ("0.1000", 100)]
        {
            assert_eq!(parse_thousandths(text), Some(thousandths), "{text}");
            assert_eq!(parse_thousandths(&format_thousandths(thousandths)), Some(thousandths));
        }
        for text in ["", ".5", "5.x", "1e3", "-1", "nan", "0.0001", "1.2.3"] {
            assert_eq!(parse_thousandths(text), None, "{text}");
        }
        assert_eq!(parse_thousandths("99999999999"), Some(u32::MAX));
    }
}
