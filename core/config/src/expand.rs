//! `${NAME}` and `${NAME:-default}` in the strings of a plan, from the environment hilum was started with. `$$` is a
//! dollar sign. There is no other syntax, and what looks like some is refused instead of passed on as it is.

use std::ffi::OsString;

use crate::diagnose::{Mistake, quote};

/// Looks a variable up.
pub(crate) type Environment<'a> = dyn Fn(&str) -> Option<OsString> + 'a;

/// Defaults nested deeper than this are refused. Three are seen in practice; the bound keeps the recursion off the
/// stack's end.
const DEPTH: usize = 8;

/// Longest string an expansion may make. **Units:** bytes. One argument of execve(2) holds 128 KiB at most; more is a
/// mistake.
const LONGEST: usize = 1 << 20;

/// `text` with every variable in its place.
///
/// **Errors:** the byte in `text` the mistake is at, and the mistake.
pub(crate) fn expand(text: &str, environment: &Environment<'_>) -> Result<String, (usize, Mistake)> {
    let mut cursor = Cursor { text, at: 0, environment };
    let mut expanded = String::with_capacity(text.len());
    cursor.run(&mut expanded, 0)?;
    Ok(expanded)
}

struct Cursor<'a> {
    text: &'a str,
    at: usize,
    environment: &'a Environment<'a>,
}

impl<'a> Cursor<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// Copies up to the end of the text, or of the default this call is inside of: its `}` is left to the caller.
    fn run(&mut self, out: &mut String, depth: usize) -> Result<(), (usize, Mistake)> {
        loop {
            let rest = self.rest();
            let stop = rest.find(|c| c == '$' || (depth > 0 && c == '}')).unwrap_or(rest.len());
            out.push_str(rest.get(..stop).unwrap_or_default());
            self.at += stop;
            let rest = self.rest();
            let mut next = rest.chars();
            if next.next() != Some('$') {
                return Ok(());
            }
            match next.next() {
                Some('$') => {
                    out.push('$');
                    self.at += 2;
                }
                Some('{') => self.variable(out, depth)?,
                Some(first) if first.is_ascii_alphabetic() || first == '_' => {
                    let name = rest.get(1..).map(name_of).unwrap_or_default();
                    return Err((
                        self.at,
                        Mistake::new(
                            format!("{} is not expanded", quote(&format!("${name}"))),
                            format!("write \"${{{name}}}\", or \"$${name}\" for a dollar sign"),
                        ),
                    ));
                }
                Some('(') => {
                    return Err((
                        self.at,
                        Mistake::new(
                            "\"$(\" is not expanded",
                            "write \"${NAME}\" for a variable, or \"$$(\" for a dollar sign",
                        ),
                    ));
                }
                // "ok$", "^a$|^b$": a dollar sign that cannot be meant as anything else.
                _ => {
                    out.push('$');
                    self.at += 1;
                }
            }
        }
    }

    /// Replaces the `${…}` the cursor is at.
    fn variable(&mut self, out: &mut String, depth: usize) -> Result<(), (usize, Mistake)> {
        let start = self.at;
        if depth >= DEPTH {
            return Err((start, Mistake::new("variables are nested too deeply", "remove some of the defaults")));
        }
        self.at += 2;
        let name = name_of(self.rest());
        self.at += name.len();
        let rest = self.rest();
        let value = if name.is_empty() {
            None
        } else {
            match (self.environment)(name).map(OsString::into_string) {
                Some(Err(_)) => {
                    return Err((
                        start,
                        Mistake::new(
                            format!("variable {name} is not UTF-8"),
                            "set it to UTF-8 text, or leave it out of the plan",
                        ),
                    ));
                }
                Some(Ok(value)) => Some(value),
                None => None,
            }
        };
        if !name.is_empty() && rest.starts_with('}') {
            let Some(value) = value else {
                return Err((
                    start,
                    Mistake::new(
                        format!("variable {name} is not set"),
                        format!("set it, or give a default: \"${{{name}:-default}}\""),
                    ),
                ));
            };
            out.push_str(&value);
        } else if !name.is_empty() && rest.starts_with(":-") {
            self.at += 2;
            // The default is read even when it is not needed: what is wrong with it does not depend on the environment
            // alone.
            let mut default = String::new();
            let known = value.filter(|value| !value.is_empty());
            if known.is_some() {
                self.skip(depth + 1)?;
            } else {
                self.run(&mut default, depth + 1)?;
            }
            if !self.rest().starts_with('}') {
                return Err((start, Mistake::new(format!("\"${{{name}\" has no end"), "add \"}\"")));
            }
            out.push_str(known.as_deref().unwrap_or(&default));
        } else {
            return Err((
                start,
                Mistake::new(
                    format!("{} is not a variable", quote(self.text.get(start..).map(clip).unwrap_or_default())),
                    "write \"${NAME}\" or \"${NAME:-default}\", or \"$$\" for a dollar sign",
                ),
            ));
        }
        self.at += 1;
        if out.len() > LONGEST {
            return Err((start, Mistake::new("the expanded string is longer than 1 MiB", "set the variable to less")));
        }
        Ok(())
    }

    /// Passes over a default that is not needed, with its syntax checked and unset variables in it allowed.
    fn skip(&mut self, depth: usize) -> Result<(), (usize, Mistake)> {
        let mut passed = Cursor { text: self.text, at: self.at, environment: &|_| Some(OsString::new()) };
        let mut unused = String::new();
        passed.run(&mut unused, depth)?;
        self.at = passed.at;
        Ok(())
    }
}

/// The variable name `text` begins with.
fn name_of(text: &str) -> &str {
    let end = text
        .char_indices()
        .find(|(at, c)| !(c.is_ascii_alphabetic() || *c == '_' || (*at > 0 && c.is_ascii_digit())))
        .map_or(text.len(), |(at, _)| at);
    text.get(..end).unwrap_or_default()
}

/// `text` up to and with its first `}`.
fn clip(text: &str) -> &str {
    text.find('}').and_then(|end| text.get(..=end)).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed test is what a panic here is for")]
    use super::expand;
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt;

    fn environment(name: &str) -> Option<OsString> {
        match name {
            "A" => Some(OsString::from("one")),
            "EMPTY" => Some(OsString::new()),
            "DOLLAR" => Some(OsString::from("${A}")),
            "BYTES" => Some(OsString::from_vec(vec![0xff])),
            "HUGE" => Some(OsString::from("x".repeat(1 << 19))),
            _ => None,
        }
    }

    #[test]
    fn variables_and_defaults_are_put_in() {
        for (text, expanded) in [
            ("plain", "plain"),
            ("${A}", "one"),
            ("a${A}b${A}", "aonebone"),
            ("${NONE:-x y}", "x y"),
            ("${EMPTY:-x}", "x"),
            ("${EMPTY}", ""),
            ("${A:-x}", "one"),
            ("${NONE:-}", ""),
            ("${NONE:-${EMPTY:-${A}}}!", "one!"),
            ("${A:-${NONE}}", "one"),
            ("$$", "$"),
            ("$${A}", "${A}"),
            ("${NONE:-$$}", "$"),
            ("^ok$|^$", "^ok$|^$"),
            ("a}b{c", "a}b{c"),
            ("${DOLLAR}", "${A}"),
            ("ä${A}ö", "äoneö"),
        ] {
            assert_eq!(expand(text, &environment).unwrap(), expanded, "{text}");
        }
    }

    #[test]
    fn mistakes_have_a_place() {
        for (text, at, problem) in [
            ("x ${NONE}", 2, "variable NONE is not set"),
            ("${NONE:-${OTHER}}", 8, "variable OTHER is not set"),
            ("$A", 0, "\"$A\" is not expanded"),
            ("a $(date)", 2, "\"$(\" is not expanded"),
            ("${", 0, "\"${\" is not a variable"),
            ("${}", 0, "\"${}\" is not a variable"),
            ("${1}", 0, "\"${1}\" is not a variable"),
            ("${A", 0, "\"${A\" is not a variable"),
            ("${A?x} y", 0, "\"${A?x}\" is not a variable"),
            ("${A-x}", 0, "\"${A-x}\" is not a variable"),
            ("${A:-x", 0, "\"${A\" has no end"),
            ("${BYTES}", 0, "variable BYTES is not UTF-8"),
            ("${HUGE}${HUGE}${HUGE}", 14, "the expanded string is longer than 1 MiB"),
        ] {
            let (place, mistake) = expand(text, &environment).unwrap_err();
            assert_eq!((place, mistake.problem.as_str()), (at, problem), "{text}");
        }
        let deep = "${N:-".repeat(100_000);
        assert_eq!(expand(&deep, &environment).unwrap_err().1.problem, "variables are nested too deeply");
    }
}
