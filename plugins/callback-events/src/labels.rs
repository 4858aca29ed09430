//! The labels of an event: where they come from, and which one wins.

use std::collections::BTreeMap;

use hilum_plugin::{Event, FileError, Host, Reaction, Setting, Settings, SettingsError};

/// Longest value. **Units:** bytes. A label is for telling events apart; a datagram has little room.
const MAX_VALUE: usize = 1024;

/// Longest file of labels. **Units:** bytes. Kubernetes allows far less.
const MAX_FILE: usize = 64 * 1024;

/// Longest JSON of an event that is looked at. **Units:** bytes. What is read from it takes up to forty times as much memory.
const MAX_BODY: usize = 64 * 1024;

/// Labels that every event has.
const ALWAYS: [&str; 3] = ["pod", "namespace", "node"];

/// Where labels come from.
#[derive(Debug)]
pub(crate) struct Sources {
    given: Vec<(String, String)>,
    /// Each with the name of a variable.
    variables: Vec<(String, String)>,
    file: Option<String>,
    exclude: Vec<String>,
}

impl Sources {
    pub(crate) fn read(settings: &mut Settings) -> Result<Sources, SettingsError> {
        let given = settings.optional("labels").map(|table| read_table(table, false)).transpose()?.unwrap_or_default();
        let variables = settings.optional("labels-from-env").map(|table| read_table(table, true)).transpose()?;
        let file = settings.optional("labels-from-file").map(|path| read_path(&path)).transpose()?;
        let exclude = settings.optional("exclude");
        if let (None, Some(exclude)) = (&file, &exclude) {
            return Err(exclude.error("is about labels-from-file, which is not set; leave it out"));
        }
        let exclude = exclude.map_or_else(Vec::new, Setting::items);
        let exclude = exclude.iter().map(|key| key.string().map(str::to_owned)).collect::<Result<_, _>>()?;
        Ok(Sources { given, variables: variables.unwrap_or_default(), file, exclude })
    }

    /// All labels of `event`.
    ///
    /// **Errors:** one cannot be had: what comes of the call.
    pub(crate) fn collect(&self, event: &Event, host: &impl Host) -> Result<BTreeMap<String, String>, Reaction> {
        let mut labels: BTreeMap<String, String> =
            ALWAYS.iter().map(|name| ((*name).to_owned(), String::new())).collect();
        for (label, variable) in &self.variables {
            let value = host
                .environment(variable)
                .map_err(|why| Reaction::Failed(format!("cannot read the variable of the label {label}: {why}")))?;
            labels.insert(label.clone(), value.unwrap_or_default());
        }
        labels.extend(self.given.iter().cloned());
        if let Some(path) = &self.file {
            let lines = read_file(path, host)?;
            labels.extend(
                lines
                    .into_iter()
                    .filter(|(key, _)| !self.exclude.contains(key))
                    .map(|(key, value)| (key.replace('-', "_"), value)),
            );
        }
        labels.extend(event.service.clone().map(|service| ("process_name".to_owned(), service)));
        labels.extend(own(&event.body).map_err(Reaction::Failed)?);
        labels.insert("event_type".to_owned(), event.name.clone());
        labels.values_mut().for_each(cut);
        Ok(labels)
    }
}

fn read_table(setting: Setting, is_variable: bool) -> Result<Vec<(String, String)>, SettingsError> {
    let mut labels = Vec::new();
    for (name, value) in setting.entries()? {
        if name.is_empty() {
            return Err(value.error("a label needs a name"));
        }
        let text = value.string()?;
        if is_variable && (text.is_empty() || text.contains(['=', '\0'])) {
            return Err(
                value.error(format_args!("{text:?} is not the name of a variable; write one such as \"HOSTNAME\""))
            );
        }
        labels.push((name, text.to_owned()));
    }
    Ok(labels)
}

fn read_path(setting: &Setting) -> Result<String, SettingsError> {
    let path = setting.string()?;
    if path.starts_with('/') {
        return Ok(path.to_owned());
    }
    Err(setting.error(format_args!("{path:?} is not an absolute path; write one such as \"/etc/podinfo/labels\"")))
}

/// The labels in the file at `path`.
fn read_file(path: &str, host: &impl Host) -> Result<Vec<(String, String)>, Reaction> {
    let limit = u32::try_from(MAX_FILE).unwrap_or(u32::MAX).saturating_add(1);
    let bytes = host.read_file(path, 0, limit).map_err(|error| {
        let story = format!("cannot read the labels in {path}: {error}");
        match error {
            FileError::Denied(_) | FileError::Invalid(_) => Reaction::Failed(story),
            FileError::NotFound(_)
            | FileError::Exists(_)
            | FileError::WrongKind(_)
            | FileError::Forbidden(_)
            | FileError::TimedOut
            | FileError::Other(_) => Reaction::retry(story),
        }
    })?;
    if bytes.len() > MAX_FILE {
        return Err(Reaction::Failed(format!("{path} has more than {} KiB; is it a file of labels?", MAX_FILE / 1024)));
    }
    let text = String::from_utf8_lossy(&bytes);
    let mut labels = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() {
            continue;
        }
        let label = line.split_once('=').and_then(|(key, value)| {
            let value = value.strip_prefix('"')?.strip_suffix('"')?;
            (!key.is_empty()).then(|| (key.to_owned(), unescaped(value)))
        });
        labels.push(label.ok_or_else(|| {
            let shown = hilum_plugin::shown(line.as_bytes());
            Reaction::Failed(format!("{path}: line {} is {shown}; it should be key=\"value\"", index.saturating_add(1)))
        })?);
    }
    Ok(labels)
}

/// A value of the downward API as it was meant. Escapes that it does not write are kept as they are.
///
/// **Source:** Go's `strconv.Quote`, as `fmt`'s `%q` uses it.
fn unescaped(value: &str) -> String {
    let mut out = String::new();
    let mut rest = value;
    while let Some((before, after)) = rest.split_once('\\') {
        out.push_str(before);
        let mut characters = after.chars();
        let code = |digits: usize| {
            let text =
                after.get(1..)?.get(..digits).filter(|text| text.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
            u32::from_str_radix(text, 16).ok().and_then(char::from_u32)
        };
        let (character, taken) = match characters.next() {
            Some(quoted @ ('"' | '\\')) => (Some(quoted), 1),
            Some('n') => (Some('\n'), 1),
            Some('t') => (Some('\t'), 1),
            Some('r') => (Some('\r'), 1),
            Some('x') => (code(2), 3),
            Some('u') => (code(4), 5),
            Some('U') => (code(8), 9),
            _ => (None, 0),
        };
        match character.zip(after.get(taken..)) {
            Some((character, after)) => {
                out.push(character);
                rest = after;
            }
            None => {
                out.push('\\');
                rest = after;
            }
        }
    }
    out.push_str(rest);
    out
}

/// What an event says of itself at the top of its JSON.
fn own(body: &str) -> Result<Vec<(String, String)>, String> {
    if body.trim().is_empty() {
        return Ok(Vec::new());
    }
    if body.len() > MAX_BODY {
        return Err(format!("the event's body has {} bytes; labels are taken from at most {MAX_BODY}", body.len()));
    }
    let wrong = |error: SettingsError| format!("the event's body is no JSON object: {}", error.story());
    let mut whole = Settings::parse(&format!("{{\"body\":{body}}}")).map_err(wrong)?;
    let members = whole.required("body", "{}").and_then(Setting::entries).map_err(wrong)?;
    // What closed the object early and went on.
    whole.finish().map_err(wrong)?;
    let text = |value: &Setting| {
        let text = value.string().map(str::to_owned);
        let number = || value.integer(i64::MIN, i64::MAX).map(|number| number.to_string());
        text.or_else(|_| number()).or_else(|_| value.boolean().map(|truth| truth.to_string())).ok()
    };
    Ok(members.into_iter().filter_map(|(name, value)| Some((name, text(&value)?))).collect())
}

fn cut(value: &mut String) {
    if value.len() > MAX_VALUE {
        value.truncate(value.floor_char_boundary(MAX_VALUE));
        value.push('…');
    }
}
