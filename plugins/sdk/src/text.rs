//! What a service sent, for people.

/// Bytes that are shown. Enough to recognise a protocol or a value.
const SHOWN: usize = 80;

/// The beginning of `bytes` in quotes, with everything that is not printable ASCII escaped.
#[must_use]
pub fn shown(bytes: &[u8]) -> String {
    let start = bytes.get(..SHOWN).unwrap_or(bytes);
    let more = if bytes.len() > SHOWN { "…" } else { "" };
    format!("\"{}{more}\"", start.escape_ascii())
}

/// Bytes that are shown of an end. What went wrong is said there, in a line or two.
const SHOWN_END: usize = 200;

/// The end of `bytes` in the same way.
#[must_use]
pub fn shown_end(bytes: &[u8]) -> String {
    let end = bytes.get(bytes.len().saturating_sub(SHOWN_END)..).unwrap_or(bytes);
    let more = if bytes.len() > SHOWN_END { "…" } else { "" };
    format!("\"{more}{}\"", end.escape_ascii())
}

/// Whether `part` is somewhere in `bytes`; nothing is in all.
#[must_use]
pub fn holds(bytes: &[u8], part: &[u8]) -> bool {
    // Windows of no length are not allowed.
    part.is_empty() || bytes.windows(part.len()).any(|window| window == part)
}

#[cfg(test)]
mod tests {
    use super::{holds, shown, shown_end};

    #[test]
    fn parts_are_found_wherever_they_are() {
        for (bytes, part) in [("abc", "abc"), ("abc", "a"), ("abc", "c"), ("abc", ""), ("", ""), ("aab", "ab")] {
            assert!(holds(bytes.as_bytes(), part.as_bytes()), "{part:?} in {bytes:?}");
        }
        for (bytes, part) in [("abc", "ac"), ("abc", "abcd"), ("", "a")] {
            assert!(!holds(bytes.as_bytes(), part.as_bytes()), "{part:?} in {bytes:?}");
        }
    }

    #[test]
    fn long_and_odd_bytes_stay_short_and_plain() {
        assert_eq!(shown(b"+OK\r\n\xff"), r#""+OK\r\n\xff""#);
        assert_eq!(shown(&[b'x'; 81]), format!("\"{}…\"", "x".repeat(80)));
        assert_eq!(shown_end(b"line\n"), r#""line\n""#);
        assert_eq!(shown_end(&[vec![b'x'; 300], b"end".to_vec()].concat()), format!("\"…{}end\"", "x".repeat(197)));
    }
}
