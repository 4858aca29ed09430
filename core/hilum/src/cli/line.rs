//! Splits a command line: which words are ours, what the environment adds, and where the child's command begins.
//!
//! Never looks at what a value means. The child's words are never parsed: they begin at the first word that is no option, or after
//! `--`, and pass through as the bytes they are.

use std::ffi::OsString;

use argh::{ArgsInfo, CommandInfoWithArgs, FlagInfo, FlagInfoKind, FromArgs, Optionality};

use crate::personality::Environment;

/// One group of switches, as a command lists them.
#[derive(Clone, Copy)]
pub(super) struct Group {
    /// Heads its part of the help text.
    pub(super) title: &'static str,
    info: fn() -> CommandInfoWithArgs,
    help: fn(&str) -> String,
}

impl Group {
    pub(super) fn of<T: FromArgs + ArgsInfo>(title: &'static str) -> Group {
        Group { title, info: T::get_args_info, help: help::<T> }
    }

    /// Its switches.
    pub(super) fn flags(self) -> impl Iterator<Item = &'static FlagInfo<'static>> {
        (self.info)().flags.iter().filter(|flag| flag.long != "--help")
    }
}

fn help<T: FromArgs>(command: &str) -> String {
    T::from_args(&["hilum", command], &["--help"]).err().map(|exit| exit.output).unwrap_or_default()
}

/// What a command line said.
#[derive(Debug)]
pub(super) enum Split {
    /// To show the help text.
    Help,
    /// To do something.
    Line(Line),
}

/// A command line in parts.
#[derive(Debug, Default)]
pub(super) struct Line {
    given: Vec<Given>,
    /// The words that are not ours.
    pub(super) rest: Vec<OsString>,
}

#[derive(Debug)]
struct Given {
    flag: &'static FlagInfo<'static>,
    value: Option<String>,
    from_variable: bool,
}

impl Line {
    /// Splits `words` by the switches of `groups` and adds what the environment says.
    ///
    /// **Errors:** what was found and the way out.
    pub(super) fn split(groups: &[Group], words: &[OsString], env: Environment<'_>) -> Result<Split, String> {
        let mut line = Line::default();
        let flags = || groups.iter().flat_map(|group| group.flags());
        let mut words = words.iter();
        while let Some(word) = words.next() {
            if word == "--" {
                break;
            }
            if !word.as_encoded_bytes().starts_with(b"-") || word == "-" {
                line.rest.push(word.clone());
                break;
            }
            let text = utf8(word, "the option")?;
            if text == "--help" || text == "-h" {
                return Ok(Split::Help);
            }
            let (name, attached) = match text.split_once('=') {
                Some((name, value)) if name.starts_with("--") => (name, Some(value)),
                _ => (text, None),
            };
            let flag =
                flags().find(|flag| is_called(flag, name)).ok_or_else(|| format!("no option is called {name}"))?;
            let value = match (&flag.kind, attached) {
                (FlagInfoKind::Switch, None) => None,
                (FlagInfoKind::Switch, Some(value)) => {
                    return Err(format!("{name} is on or absent and takes no value, but \"{value}\" was given"));
                }
                (FlagInfoKind::Option { .. }, Some(value)) => Some(String::from(value)),
                (FlagInfoKind::Option { arg_name }, None) => {
                    let next = words.next().ok_or_else(|| format!("{name} needs a value: {name} {arg_name}"))?;
                    Some(String::from(utf8(next, name)?))
                }
            };
            if flag.optionality != Optionality::Repeating && line.given.iter().any(|given| given.flag.long == flag.long)
            {
                return Err(format!("{} was given twice", flag.long));
            }
            line.given.push(Given { flag, value, from_variable: false });
        }
        line.rest.extend(words.cloned());
        for flag in flags() {
            if !line.given.iter().any(|given| given.flag.long == flag.long) {
                line.add_variable(flag, env)?;
            }
        }
        Ok(Split::Line(line))
    }

    fn add_variable(&mut self, flag: &'static FlagInfo<'static>, env: Environment<'_>) -> Result<(), String> {
        let name = variable(flag.long);
        let Some(value) = env(&name) else { return Ok(()) };
        if value.is_empty() {
            return Err(format!("{name} is set but empty; unset it or give it a value"));
        }
        let value = utf8(&value, &name)?;
        let mut give = |value: Option<&str>| {
            self.given.push(Given { flag, value: value.map(String::from), from_variable: true });
        };
        match (&flag.kind, &flag.optionality) {
            (FlagInfoKind::Switch, _) => {
                if parse_bool(value)
                    .ok_or_else(|| format!("{name}: \"{value}\" is neither yes nor no; write 1 or 0"))?
                {
                    give(None);
                }
            }
            (FlagInfoKind::Option { .. }, Optionality::Repeating) => value.split(',').for_each(|item| give(Some(item))),
            (FlagInfoKind::Option { .. }, _) => give(Some(value)),
        }
        Ok(())
    }

    /// The values of one group, which must be among those the line was split by.
    pub(super) fn take<T: FromArgs + ArgsInfo>(&self) -> Result<T, String> {
        let mut words = Vec::new();
        for given in &self.given {
            if T::get_args_info().flags.iter().any(|flag| flag.long == given.flag.long) {
                words.push(given.flag.long);
                words.extend(given.value.as_deref());
            }
        }
        T::from_args(&["hilum"], &words).map_err(|exit| String::from(exit.output.trim_end()))
    }

    /// How messages call a switch: by its variable where that gave the value.
    pub(super) fn place(&self, long: &str) -> String {
        match self.given.iter().find(|given| given.flag.long == long) {
            Some(given) if given.from_variable => variable(long),
            _ => String::from(long),
        }
    }
}

/// The help text of a command: argh's for its first group, with the switches of the others under their titles.
pub(super) fn describe(command: &str, groups: &[Group]) -> String {
    const OPTIONS: &str = "\n\nOptions:";
    let mut groups = groups.iter();
    let Some(first) = groups.next() else { return String::new() };
    let text = (first.help)(command);
    let Some((head, options)) = text.split_once(OPTIONS) else { return text };
    let (own, tail) = options.split_once("\n\n").unwrap_or((options.trim_end(), ""));
    let mut out = String::from(head);
    for group in groups {
        let text = (group.help)(command);
        let options = text.split_once(OPTIONS).map(|(_, options)| options.trim_end()).unwrap_or_default();
        out.push_str(&format!("\n\n{}:{}", group.title, without_help(options)));
    }
    let (before, after) = (out.split_at_checked(head.len())).unwrap_or((&out, ""));
    let mut text = format!("{before}{OPTIONS}{}{after}", own.trim_end());
    if !tail.is_empty() {
        text.push_str(&format!("\n\n{}", tail.trim_end()));
    }
    text.push('\n');
    text
}

/// The switches of a part of argh's help text, without its last line, which is about `--help`.
fn without_help(options: &str) -> &str {
    options.rfind("\n  --help").and_then(|end| options.get(..end)).unwrap_or(options)
}

/// The variable of a switch.
pub(super) fn variable(long: &str) -> String {
    format!("HILUM_{}", long.trim_start_matches('-').replace('-', "_").to_ascii_uppercase())
}

fn is_called(flag: &FlagInfo<'_>, name: &str) -> bool {
    let short = name.strip_prefix('-').filter(|short| !short.starts_with('-'));
    flag.long == name || flag.short.is_some_and(|letter| short.is_some_and(|short| short.chars().eq([letter])))
}

fn parse_bool(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "t" | "true" | "y" | "yes" | "on" => Some(true),
        "0" | "f" | "false" | "n" | "no" | "off" => Some(false),
        _ => None,
    }
}

fn utf8<'a>(word: &'a OsString, place: &str) -> Result<&'a str, String> {
    word.to_str().ok_or_else(|| format!("{place}: \"{}\" is not UTF-8", word.to_string_lossy()))
}
