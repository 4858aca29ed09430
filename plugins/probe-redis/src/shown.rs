//! Bytes from a server as text for people: escaped, cut, and without the password, which servers repeat in some of their errors.

/// Bytes of an answer that are shown. Enough to recognise a protocol or a value.
const SHOWN: usize = 64;

/// Bytes of an error that are shown. Redis says what to do in its first sentence; the longest usual one has 110 bytes.
const SHOWN_OF_ERROR: usize = 160;

/// Bytes of the password's beginning that count as the password, because servers cut what they repeat.
const TELLING: usize = 8;

/// The same where what was received ends.
const TELLING_AT_END: usize = 3;

/// The beginning of any bytes, in quotes.
pub(crate) fn bytes(bytes: &[u8], password: Option<&str>) -> String {
    format!("\"{}\"", cut(bytes, password, SHOWN))
}

/// The beginning of an error's text, in quotes.
pub(crate) fn error(text: &[u8], password: Option<&str>) -> String {
    format!("\"{}\"", cut(text, password, SHOWN_OF_ERROR))
}

/// The beginning of a command.
pub(crate) fn command(words: &[&str], password: Option<&str>) -> String {
    cut(words.join(" ").as_bytes(), password, SHOWN)
}

fn cut(bytes: &[u8], password: Option<&str>, limit: usize) -> String {
    let clean = without(bytes, password.unwrap_or_default().as_bytes(), limit);
    let start = clean.get(..limit).unwrap_or(&clean);
    let mut text = String::new();
    for byte in start {
        match byte {
            b'\'' => text.push('\''),
            other => text.extend(other.escape_ascii().map(char::from)),
        }
    }
    if clean.len() > limit {
        text.push('…');
    }
    text
}

/// A bit more than the first `limit` bytes, with `***` for the password.
fn without(bytes: &[u8], password: &[u8], limit: usize) -> Vec<u8> {
    let mut clean = Vec::new();
    let mut rest = bytes;
    while let Some((first, after)) = rest.split_first() {
        if clean.len() > limit {
            break;
        }
        let common = rest.iter().zip(password).take_while(|(found, secret)| is_same(**found, **secret)).count();
        let whole = common > 0 && common == password.len();
        if whole || common >= TELLING || (common == rest.len() && common >= TELLING_AT_END) {
            clean.extend_from_slice(b"***");
            rest = rest.get(common..).unwrap_or_default();
        } else {
            clean.push(*first);
            rest = after;
        }
    }
    clean
}

/// Servers write a space for what would break a line.
fn is_same(found: u8, secret: u8) -> bool {
    let is_blank = |byte: u8| byte == b' ' || byte.is_ascii_control();
    found == secret || (is_blank(found) && is_blank(secret))
}

#[cfg(test)]
mod tests {
    use super::{bytes, command, error};

    #[test]
    fn bytes_are_escaped_and_cut() {
        assert_eq!(bytes(b"You can't\r\n\xff\"", None), r#""You can't\r\n\xff\"""#);
        assert_eq!(bytes(&[b'x'; 64], None), format!("\"{}\"", "x".repeat(64)));
        assert_eq!(bytes(&[b'x'; 65], None), format!("\"{}…\"", "x".repeat(64)));
        assert_eq!(error(&[b'x'; 161], None), format!("\"{}…\"", "x".repeat(160)));
        assert_eq!(command(&["GET", "a b"], None), "GET a b");
    }

    #[test]
    fn the_password_is_never_shown_whole_or_cut() {
        for (text, password, expected) in [
            ("args: 'hunter2' '", "hunter2", "args: '***' '"),
            ("hunter2hunter2", "hunter2", "******"),
            ("args: 'correct horse batt'", "correct\nhorse battery staple", "args: '***'"),
            ("$7\r\nhunt", "hunter2", r"$7\r\n***"),
            ("hu", "hunter2", "hu"),
            ("a cat", "a", "*** c***t"),
        ] {
            assert_eq!(bytes(text.as_bytes(), Some(password)), format!("\"{expected}\""));
        }
        let edge = format!("{}hunter2", "x".repeat(62));
        assert_eq!(bytes(edge.as_bytes(), Some("hunter2")), format!("\"{}**…\"", "x".repeat(62)));
    }
}
