//! Durations and sizes as people write them in a plan, and as they are told: whole numbers with a unit.

/// Units of time, longest first. **Units:** milliseconds.
const TIME: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

/// Units of size, as many as a plan knows.
const SIZE: [(&str, u64); 8] = [
    ("GiB", 1 << 30),
    ("GB", 1_000_000_000),
    ("MiB", 1 << 20),
    ("MB", 1_000_000),
    ("KiB", 1 << 10),
    ("KB", 1000),
    ("kB", 1000),
    ("B", 1),
];

/// Longest duration a text may say: ten years, as in a plan. **Units:** milliseconds. Sums and differences of a few stay in range.
const LONGEST: u64 = 10 * 365 * 86_400_000;

/// The number at the beginning of a text, and the rest.
fn split_number(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, rest) = text.split_at_checked(end)?;
    Some((number.parse().ok()?, rest))
}

/// The duration a text such as `30s`, `250ms` or `1m30s` says. **Units:** milliseconds.
pub(crate) fn parse_duration(text: &str) -> Option<u64> {
    let (mut rest, mut total) = (text, 0_u64);
    let mut units = TIME.iter();
    loop {
        let (count, tail) = split_number(rest)?;
        let end = tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len());
        let (name, next) = tail.split_at_checked(end)?;
        // The longest first, each at most once.
        let (_, scale) = units.find(|(unit, _)| *unit == name)?;
        total = total.checked_add(count.checked_mul(*scale)?).filter(|total| *total <= LONGEST)?;
        if next.is_empty() {
            return Some(total);
        }
        rest = next;
    }
}

/// The number of bytes a text such as `64KiB` says.
pub(crate) fn parse_size(text: &str) -> Option<u64> {
    let (count, name) = split_number(text)?;
    let (_, scale) = SIZE.iter().find(|(unit, _)| *unit == name)?;
    count.checked_mul(*scale)
}

/// A duration for people, to its two largest units: `1m23s`. **Units:** milliseconds.
#[must_use]
pub fn format_duration(ms: u64) -> String {
    let (mut rest, mut text, mut parts) = (ms, String::new(), 0);
    for (unit, scale) in TIME {
        if rest >= scale && parts < 2 {
            text.push_str(&format!("{}{unit}", rest / scale));
            rest %= scale;
            parts += 1;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

/// A size for people: `64KiB` if it is so much exactly, else to a tenth, rounded down.
#[must_use]
pub fn format_size(bytes: u64) -> String {
    let unit =
        [("GiB", 1_u64 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)].into_iter().find(|(_, scale)| bytes >= *scale);
    match unit {
        None => format!("{bytes}B"),
        Some((unit, scale)) if bytes.is_multiple_of(scale) => format!("{}{unit}", bytes / scale),
        Some((unit, scale)) => format!("{}.{}{unit}", bytes / scale, bytes % scale * 10 / scale),
    }
}

#[cfg(test)]
mod tests {
    use super::{format_duration, format_size, parse_duration, parse_size};

    #[test]
    fn durations_are_whole_numbers_with_units_in_order() {
        for (text, ms) in [
            ("30s", 30_000),
            ("250ms", 250),
            ("5m", 300_000),
            ("2h", 7_200_000),
            ("1d", 86_400_000),
            ("1m30s", 90_000),
            ("1h1ms", 3_600_001),
            ("0s", 0),
            ("3650d", 315_360_000_000),
        ] {
            assert_eq!(parse_duration(text), Some(ms), "{text}");
        }
        for text in [
            "",
            "30",
            "s",
            "1.5s",
            "-1s",
            "30 s",
            "30S",
            "30s1m",
            "1s1s",
            "1m30",
            "3651d",
            "18446744073709551616ms",
            "99999999999999999999999s",
            "1w",
            "1s ",
            "٣s",
        ] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }

    #[test]
    fn sizes_are_whole_numbers_with_a_unit() {
        for (text, bytes) in [
            ("64KiB", 65_536),
            ("512MiB", 536_870_912),
            ("4MB", 4_000_000),
            ("9B", 9),
            ("1kB", 1000),
            ("2GiB", 2 << 30),
        ] {
            assert_eq!(parse_size(text), Some(bytes), "{text}");
        }
        for text in ["", "64", "KiB", "1.5MiB", "64K", "64 KiB", "-1B", "99999999999999GiB"] {
            assert_eq!(parse_size(text), None, "{text}");
        }
    }

    #[test]
    fn people_are_told_what_matters() {
        for (ms, text) in [
            (0, "0s"),
            (850, "850ms"),
            (30_005, "30s5ms"),
            (83_123, "1m23s"),
            (1_800_005, "30m5ms"),
            (90_061_001, "1d1h"),
            (u64::MAX, "213503982334d14h"),
        ] {
            assert_eq!(format_duration(ms), text);
        }
        for (bytes, text) in [
            (0, "0B"),
            (1023, "1023B"),
            (65_536, "64KiB"),
            (1535, "1.4KiB"),
            (1536, "1.5KiB"),
            (2047, "1.9KiB"),
            (536_870_913, "512.0MiB"),
            ((2 << 30) - 1, "1.9GiB"),
            (u64::MAX, "17179869183.9GiB"),
        ] {
            assert_eq!(format_size(bytes), text);
        }
    }
}
