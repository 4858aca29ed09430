//! Splits a command given as one string into words, by the quoting rules of a POSIX shell and nothing else of one: no
//! expansion, no patterns, no operators. An operator outside quotes is refused, since whoever wrote it expects a shell.

use crate::diagnose::{Mistake, quote};

/// The words of `text`.
///
/// **Errors:** the byte in `text` the mistake is at, and the mistake.
///
/// **Source:** POSIX.1-2024, Shell Command Language, 2.2 Quoting.
pub(crate) fn split(text: &str) -> Result<Vec<String>, (usize, Mistake)> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut rest = text.char_indices();
    while let Some((at, character)) = rest.next() {
        match character {
            ' ' | '\t' | '\r' | '\n' => words.extend(word.take()),
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match rest.next() {
                        Some((_, '\'')) => break,
                        Some((_, other)) => word.push(other),
                        None => return Err((at, open("'"))),
                    }
                }
            }
            '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match rest.next() {
                        Some((_, '"')) => break,
                        Some((_, '\\')) => match rest.next() {
                            Some((_, '\n')) => {}
                            Some((_, escaped @ ('"' | '\\' | '$' | '`'))) => word.push(escaped),
                            Some((_, other)) => word.extend(['\\', other]),
                            None => return Err((at, open("\""))),
                        },
                        Some((_, other)) => word.push(other),
                        None => return Err((at, open("\""))),
                    }
                }
            }
            '\\' => match rest.next() {
                Some((_, '\n')) => {}
                Some((_, escaped)) => word.get_or_insert_default().push(escaped),
                None => return Err((at, Mistake::new("a backslash ends the command", "remove it, or write two"))),
            },
            '|' | '&' | ';' | '<' | '>' | '(' | ')' | '`' => {
                return Err((
                    at,
                    Mistake::new(
                        format!("{} means nothing without a shell", quote(&character.to_string())),
                        "put it in quotes, or start a shell: [\"/bin/sh\", \"-c\", \"…\"]",
                    ),
                ));
            }
            other => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    Ok(words)
}

fn open(mark: &str) -> Mistake {
    Mistake::new(format!("quote {mark} is not closed"), format!("add {mark}, or write the command as a list"))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed test is what a panic here is for")]
    use super::split;

    #[test]
    fn words_are_quoted_as_in_posix() {
        for (text, words) in [
            ("", vec![]),
            ("  a\t b\n", vec!["a", "b"]),
            ("a 'b c' \"d e\"", vec!["a", "b c", "d e"]),
            ("a''b \"\" ''", vec!["ab", "", ""]),
            (r"a\ b \'", vec!["a b", "'"]),
            (r#""\"\\\$\`\n""#, vec![r#""\$`\n"#]),
            (r"'a\b'", vec![r"a\b"]),
            ("a\\\nb \"c\\\nd\"", vec!["ab", "cd"]),
            ("${A} *.txt ~ #x", vec!["${A}", "*.txt", "~", "#x"]),
            ("'|' \\; \"&\"", vec!["|", ";", "&"]),
            ("ä 'ö ü'", vec!["ä", "ö ü"]),
        ] {
            assert_eq!(split(text).unwrap(), words, "{text:?}");
        }
    }

    #[test]
    fn mistakes_have_a_place() {
        for (text, at, message) in [
            ("a 'b", 2, "quote ' is not closed; add ', or write the command as a list"),
            ("a \"b\\", 2, "quote \" is not closed; add \", or write the command as a list"),
            ("a\\", 1, "a backslash ends the command; remove it, or write two"),
            (
                "a | b",
                2,
                r#""|" means nothing without a shell; put it in quotes, or start a shell: ["/bin/sh", "-c", "…"]"#,
            ),
        ] {
            let (place, mistake) = split(text).unwrap_err();
            assert_eq!((place, mistake.to_string().as_str()), (at, message));
        }
    }
}
