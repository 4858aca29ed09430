//! Guest text on its way to people.

/// Longest text taken from a guest. **Units:** bytes. A screen line or ten; doubled, a flood of logs costs PID 1 twice as much.
pub(crate) const MAX_TEXT: usize = 1024;

/// `text` without control characters and with at most `max` bytes; what is cut off is marked by an ellipsis.
pub(crate) fn clean(text: &str, max: usize) -> String {
    const ELLIPSIS: char = '…';
    let mut cleaned = String::with_capacity(text.len().min(max));
    // Where to cut if the text turns out to be too long: the last place with room for the ellipsis.
    let mut cut = 0;
    for character in text.chars() {
        let character = if is_unprintable(character) { char::REPLACEMENT_CHARACTER } else { character };
        if cleaned.len() + character.len_utf8() > max {
            cleaned.truncate(cut);
            cleaned.push(ELLIPSIS);
            break;
        }
        cleaned.push(character);
        if cleaned.len() + ELLIPSIS.len_utf8() <= max {
            cut = cleaned.len();
        }
    }
    cleaned
}

/// Control characters, and those that reorder or hide the text around them.
fn is_unprintable(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::clean;

    #[test]
    fn control_characters_are_replaced() {
        assert_eq!(clean("a\nb\x1b[31m\u{202e}c", 100), "a\u{fffd}b\u{fffd}[31m\u{fffd}c");
    }

    #[test]
    fn long_text_is_cut_between_characters() {
        assert_eq!(clean("abcdef", 6), "abcdef");
        assert_eq!(clean("abcdefg", 6), "abc…");
        assert_eq!(clean("äääää", 9), "äää…");
        assert_eq!(clean("\0\0\0", 8), "\u{fffd}…");
        for max in 3..20 {
            assert!(clean(&"é\n€x".repeat(50), max).len() <= max);
        }
    }
}
