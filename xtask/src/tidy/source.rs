//! Rust source with comments and literals blanked out, so that a word found in it is a word of the program. It knows no
//! grammar beyond that.

/// The program text of a source file: same lines, same columns in characters, with the insides of comments, strings and
/// character literals turned to spaces.
pub(super) fn program(text: &str) -> String {
    let letters: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while let Some(&letter) = letters.get(at) {
        let rest = letters.get(at..).unwrap_or_default();
        let before = at.checked_sub(1).and_then(|before| letters.get(before));
        let inside_word = before.is_some_and(|before| before.is_alphanumeric() || *before == '_');
        let length = match letter {
            '/' if rest.get(1) == Some(&'/') => rest.iter().position(|&letter| letter == '\n').unwrap_or(rest.len()),
            '/' if rest.get(1) == Some(&'*') => block_comment(rest),
            '"' => quoted(rest, '"'),
            'r' if !inside_word || matches!(before, Some('b' | 'c')) => raw_string(rest).unwrap_or(0),
            '\'' => character(rest),
            _ => 0,
        };
        if length == 0 {
            out.push(letter);
            at += 1;
        } else {
            out.extend(rest.iter().take(length).map(|&letter| if letter == '\n' { '\n' } else { ' ' }));
            at += length;
        }
    }
    out
}

/// Length of a block comment; they nest.
fn block_comment(rest: &[char]) -> usize {
    let mut depth = 0usize;
    let mut at = 0;
    while at < rest.len() {
        match (rest.get(at), rest.get(at + 1)) {
            (Some('/'), Some('*')) => {
                depth += 1;
                at += 2;
            }
            (Some('*'), Some('/')) => {
                depth = depth.saturating_sub(1);
                at += 2;
                if depth == 0 {
                    return at;
                }
            }
            _ => at += 1,
        }
    }
    rest.len()
}

/// Length of a literal between two of the same mark, backslashes skipping a letter.
fn quoted(rest: &[char], mark: char) -> usize {
    let mut at = 1;
    while let Some(&letter) = rest.get(at) {
        at += 1;
        if letter == '\\' {
            at += 1;
        } else if letter == mark {
            break;
        }
    }
    at.min(rest.len())
}

/// Length of `r"…"` or `r#"…"#`, if it is one.
fn raw_string(rest: &[char]) -> Option<usize> {
    let hashes = rest.iter().skip(1).take_while(|&&letter| letter == '#').count();
    if rest.get(1 + hashes) != Some(&'"') {
        return None;
    }
    let start = hashes + 2;
    let end = rest
        .get(start..)?
        .windows(hashes + 1)
        .position(|window| window.first() == Some(&'"') && window.iter().skip(1).all(|&letter| letter == '#'))?;
    Some(start + end + hashes + 1)
}

/// Length of a character literal; 0 for a lifetime.
fn character(rest: &[char]) -> usize {
    match (rest.get(1), rest.get(2)) {
        (Some('\\'), _) => quoted(rest, '\''),
        (Some(_), Some('\'')) => 3,
        _ => 0,
    }
}

/// Numbers of the lines, from 1, in which `word` stands by itself.
pub(super) fn lines_with_word(program: &str, word: &str) -> Vec<usize> {
    let part = |letter: char| letter.is_alphanumeric() || letter == '_';
    let stands_alone = |line: &str| {
        line.match_indices(word).any(|(at, _)| {
            let (before, after) = (line.get(..at), line.get(at + word.len()..));
            !before.is_some_and(|text| text.ends_with(part)) && !after.is_some_and(|text| text.starts_with(part))
        })
    };
    program.lines().enumerate().filter(|(_, line)| stands_alone(line)).map(|(number, _)| number + 1).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanks_what_is_not_program() {
        for hidden in [
            "// unsafe\n",
            "/// unsafe\n",
            "/* a /* nested */ unsafe */",
            "\"unsafe \\\" unsafe\"",
            "r\"unsafe\"",
            "br##\"unsafe \"# unsafe\"##",
            "b\"unsafe\"",
        ] {
            assert_eq!(lines_with_word(&program(hidden), "unsafe"), [0usize; 0], "{hidden}");
        }
        for shown in
            ["unsafe { }", "fn a<'a>(b: &'a str) { unsafe }", "let c = '\"'; unsafe {}", "let c = '\\''; unsafe {}"]
        {
            assert_eq!(lines_with_word(&program(shown), "unsafe"), [1], "{shown}");
        }
        assert_eq!(lines_with_word(&program("a\n\"\n\n\" unsafe"), "unsafe"), [4]);
        assert_eq!(lines_with_word("#![forbid(unsafe_code)]", "unsafe"), [0usize; 0]);
    }

    #[test]
    fn keeps_every_line_of_its_own_tests() {
        let own = include_str!("source.rs");
        assert_eq!(program(own).lines().count(), own.lines().count());
    }
}
