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

#[cfg(test)]
mod tests {
    use super::shown;

    #[test]
    fn long_and_odd_bytes_stay_short_and_plain() {
        assert_eq!(shown(b"+OK\r\n\xff"), r#""+OK\r\n\xff""#);
        assert_eq!(shown(&[b'x'; 81]), format!("\"{}…\"", "x".repeat(80)));
    }
}
