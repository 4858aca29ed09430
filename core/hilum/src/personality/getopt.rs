//! Options as getopt(3) and getopt_long(3) of glibc read them, messages included: three of the tools are built on it.
//!
//! Does not act on an option. Options up to the first mistake are returned in order, because the tools act on each as it comes:
//! `tini -h -x` is a call for help, `tini -x -h` is a mistake.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// Which options a tool has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Table {
    /// Letters, each with whether it takes a value.
    pub(super) short: &'static [(u8, bool)],
    /// Long names, each with the letter it stands for. Empty for a tool that has none at all.
    pub(super) long: &'static [(&'static str, u8)],
    /// Whether options are looked for behind the first word that is none, too.
    pub(super) permute: bool,
}

/// What was found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Found {
    /// Options in order, with their values.
    pub(super) options: Vec<(u8, Option<OsString>)>,
    /// The words that are no options, or what is wrong.
    pub(super) words: Result<Vec<OsString>, Mistake>,
}

/// What is wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Mistake {
    /// The message, as getopt(3) would print it behind the program's name.
    pub(super) message: String,
    /// Whether it was found behind the first word that is no option: probably an option of the child's.
    pub(super) behind_program: bool,
}

impl Table {
    /// Reads `words`. `posixly_correct` stands for the variable of that name, which forbids permuting.
    pub(super) fn read(self, words: &[OsString], posixly_correct: bool) -> Found {
        let mut options = Vec::new();
        let words = self.collect(words, self.permute && !posixly_correct, &mut options);
        Found { options, words }
    }

    fn collect(
        self,
        words: &[OsString],
        permute: bool,
        options: &mut Vec<(u8, Option<OsString>)>,
    ) -> Result<Vec<OsString>, Mistake> {
        let mut rest = Vec::new();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            if word == "--" {
                break;
            }
            let bytes = word.as_bytes();
            let mut next = || words.next().cloned();
            let read = match bytes.strip_prefix(b"--") {
                Some(name) if !self.long.is_empty() => self.read_long(name, &mut next, options),
                _ => match bytes.strip_prefix(b"-") {
                    Some(letters) if !letters.is_empty() => self.read_letters(letters, &mut next, options),
                    _ => {
                        rest.push(word.clone());
                        if permute {
                            continue;
                        }
                        break;
                    }
                },
            };
            read.map_err(|message| Mistake { message, behind_program: !rest.is_empty() })?;
        }
        rest.extend(words.cloned());
        Ok(rest)
    }

    /// Reads the letters behind one dash: several may share a word, and a value may follow in the same.
    fn read_letters(
        self,
        letters: &[u8],
        next: &mut dyn FnMut() -> Option<OsString>,
        options: &mut Vec<(u8, Option<OsString>)>,
    ) -> Result<(), String> {
        let mut letters = letters;
        while let [letter, behind @ ..] = letters {
            let known = self.short.iter().find(|(known, _)| known == letter);
            let Some((_, takes_value)) = known else {
                return Err(format!("invalid option -- '{}'", show(&[*letter])));
            };
            if *takes_value {
                let value = if behind.is_empty() { next() } else { Some(OsString::from_vec(behind.to_vec())) };
                let value = value.ok_or_else(|| format!("option requires an argument -- '{}'", show(&[*letter])))?;
                options.push((*letter, Some(value)));
                return Ok(());
            }
            options.push((*letter, None));
            letters = behind;
        }
        Ok(())
    }

    /// Reads a long option; any unambiguous beginning of its name will do.
    fn read_long(
        self,
        word: &[u8],
        next: &mut dyn FnMut() -> Option<OsString>,
        options: &mut Vec<(u8, Option<OsString>)>,
    ) -> Result<(), String> {
        let (name, attached) = match word.iter().position(|byte| *byte == b'=') {
            Some(at) => (word.get(..at).unwrap_or_default(), word.get(at + 1..)),
            None => (word, None),
        };
        let exact = self.long.iter().filter(|(long, _)| long.as_bytes() == name);
        let mut candidates: Vec<&(&str, u8)> = exact.collect();
        if candidates.is_empty() {
            candidates = self.long.iter().filter(|(long, _)| long.as_bytes().starts_with(name)).collect();
        }
        let (long, letter) = match candidates.as_slice() {
            [] => return Err(format!("unrecognized option '--{}'", show(word))),
            [one] => **one,
            several => {
                let names: Vec<String> = several.iter().map(|(long, _)| format!(" '--{long}'")).collect();
                return Err(format!("option '--{}' is ambiguous; possibilities:{}", show(word), names.concat()));
            }
        };
        let takes_value = self.short.iter().any(|(known, takes_value)| *known == letter && *takes_value);
        let value = match (takes_value, attached) {
            (false, None) => None,
            (false, Some(_)) => return Err(format!("option '--{long}' doesn't allow an argument")),
            (true, Some(value)) => Some(OsString::from_vec(value.to_vec())),
            (true, None) => Some(next().ok_or_else(|| format!("option '--{long}' requires an argument"))?),
        };
        options.push((letter, value));
        Ok(())
    }
}

fn show(bytes: &[u8]) -> String {
    OsStr::from_bytes(bytes).to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::{Found, Table};
    use std::ffi::OsString;

    const TABLE: Table = Table {
        short: &[(b'a', false), (b'b', false), (b'v', true)],
        long: &[("alpha", b'a'), ("alpine", b'b'), ("value", b'v')],
        permute: false,
    };

    fn read(table: Table, words: &[&str]) -> Found {
        table.read(&words.iter().map(OsString::from).collect::<Vec<_>>(), false)
    }

    fn summary(found: Found) -> String {
        let options: Vec<String> = found
            .options
            .iter()
            .map(|(letter, value)| match value {
                Some(value) => format!("{}={}", char::from(*letter), value.display()),
                None => char::from(*letter).to_string(),
            })
            .collect();
        let words = match found.words {
            Ok(words) => words.iter().map(|word| word.display().to_string()).collect::<Vec<_>>().join(" "),
            Err(mistake) => format!("! {}{}", mistake.message, if mistake.behind_program { " (behind)" } else { "" }),
        };
        format!("{} | {words}", options.join(" "))
    }

    #[test]
    fn options_end_at_the_program() {
        for (words, expected) in [
            (&["-ab", "x", "-a"][..], "a b | x -a"),
            (&["-avx", "x"], "a v=x | x"),
            (&["-v", "--", "x"], "v=-- | x"),
            (&["--", "-a"], " | -a"),
            (&["-", "-a"], " | - -a"),
            (&["--alpha", "--value=1=2", "--value", "3", "x", "--", "y"], "a v=1=2 v=3 | x -- y"),
            (&["--val", "3"], "v=3 | "),
            (&[], " | "),
            (&["-a", "-q", "-b"], "a | ! invalid option -- 'q'"),
            (&["-v"], " | ! option requires an argument -- 'v'"),
            (&["--value"], " | ! option '--value' requires an argument"),
            (&["--al"], " | ! option '--al' is ambiguous; possibilities: '--alpha' '--alpine'"),
            (&["--alpha=1"], " | ! option '--alpha' doesn't allow an argument"),
            (&["--omega=1"], " | ! unrecognized option '--omega=1'"),
            (&["--=x"], " | ! option '--=x' is ambiguous; possibilities: '--alpha' '--alpine' '--value'"),
        ] {
            assert_eq!(summary(read(TABLE, words)), expected, "{words:?}");
        }
    }

    #[test]
    fn a_permuting_table_looks_behind_the_program() {
        let table = Table { permute: true, long: &[], ..TABLE };
        for (words, expected) in [
            (&["x", "-a", "y"][..], "a | x y"),
            (&["x", "--", "-a"], " | x -a"),
            (&["x", "-q"], " | ! invalid option -- 'q' (behind)"),
            (&["--alpha"], " | ! invalid option -- '-'"),
        ] {
            assert_eq!(summary(read(table, words)), expected, "{words:?}");
        }
        let words: Vec<OsString> = ["x", "-a"].iter().map(OsString::from).collect();
        assert_eq!(summary(table.read(&words, true)), " | x -a");
    }
}
