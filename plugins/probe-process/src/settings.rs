//! The settings: one of two questions.

use std::fmt;

use hilum_plugin::{Process, Settings, SettingsError, holds, shown};

/// Starts that can be asked for at most. The host knows the last 32, so that one more can be told from them.
const MAX_STARTS: i64 = 31;

/// Processes that can be asked for at most: as many as the host lists.
const MAX_PROCESSES: i64 = 4096;

/// Bytes of a process's name that the kernel keeps. **Source:** proc_pid_comm(5).
const MAX_NAME: usize = 15;

/// What is asked.
#[derive(Debug)]
pub enum Question {
    /// Was the service started at most so often in a time?
    Starts {
        /// So often.
        most: usize,
        /// **Units:** milliseconds.
        within: u64,
    },
    /// Do the processes that match keep to the limits?
    Table {
        /// Which.
        pattern: Pattern,
        /// To what.
        limits: Limits,
    },
}

/// Which processes are meant. All that is set must match.
#[derive(Debug)]
pub struct Pattern {
    name: Option<String>,
    command: Option<String>,
}

/// How many there may be, and how much they may use. Limits are included.
#[derive(Debug)]
pub struct Limits {
    pub(crate) min: usize,
    pub(crate) max: Option<usize>,
    /// Of all together. **Units:** bytes.
    pub(crate) memory: Option<u64>,
}

impl Question {
    pub(crate) fn read(settings: &mut Settings) -> Result<Question, SettingsError> {
        let most = settings.optional("max-starts");
        let within = settings.optional("within");
        let pattern = Pattern::read(settings)?;
        let limits = Limits::read(settings)?;
        match (most, within, pattern) {
            (Some(most), Some(within), None) => {
                if let Some((key, _)) = limits {
                    return Err(SettingsError::new(
                        key,
                        "is about processes, max-starts about the service; use two probes",
                    ));
                }
                let starts = usize::try_from(most.integer(1, MAX_STARTS)?).unwrap_or_default();
                match within.duration()? {
                    0 => Err(within.error("is nothing; write a time, such as \"10m\"")),
                    ms => Ok(Question::Starts { most: starts, within: ms }),
                }
            }
            (None, None, Some(pattern)) => {
                let limits = limits.map_or(Limits { min: 1, max: None, memory: None }, |(_, limits)| limits);
                Ok(Question::Table { pattern, limits })
            }
            (Some(_), None, None) => {
                Err(SettingsError::new("within", "missing beside max-starts; write within = \"10m\""))
            }
            (None, Some(_), None) => {
                Err(SettingsError::new("max-starts", "missing beside within; write max-starts = 3"))
            }
            (Some(_), _, Some(_)) | (_, Some(_), Some(_)) => Err(SettingsError::new(
                "max-starts",
                "and within are about the service, name and command about processes; use two probes",
            )),
            (None, None, None) => Err(SettingsError::new(
                "name",
                "missing; write name = \"worker\" or command = \"--queue mail\" to ask for processes, or max-starts = 3 and within = \
                 \"10m\" to ask for starts",
            )),
        }
    }
}

impl Pattern {
    fn read(settings: &mut Settings) -> Result<Option<Pattern>, SettingsError> {
        let mut text = |key: &str| match settings.optional(key) {
            None => Ok(None),
            Some(setting) => match setting.string()? {
                "" => Err(setting.error("is empty, and matches nothing in particular; leave it out, or write a text")),
                text => Ok(Some((text.to_owned(), setting))),
            },
        };
        let name = match text("name")? {
            Some((name, setting)) if name.len() > MAX_NAME => {
                return Err(setting.error(format_args!(
                    "has {} bytes, and the kernel keeps {MAX_NAME} of a name; write the first {MAX_NAME}, or use command",
                    name.len()
                )));
            }
            name => name.map(|(name, _)| name),
        };
        let command = text("command")?.map(|(command, _)| command);
        Ok(if name.is_none() && command.is_none() { None } else { Some(Pattern { name, command }) })
    }

    pub(crate) fn covers(&self, process: &Process) -> bool {
        self.name.as_ref().is_none_or(|name| *name == process.name)
            && self
                .command
                .as_ref()
                .is_none_or(|command| holds(process.command.join(" ").as_bytes(), command.as_bytes()))
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut before = "";
        for (key, value) in [("name", &self.name), ("command", &self.command)] {
            if let Some(value) = value {
                write!(f, "{before}{key} {}", shown(value.as_bytes()))?;
                before = " and ";
            }
        }
        Ok(())
    }
}

impl Limits {
    /// With the key of the first that is set; `None` if none is.
    fn read(settings: &mut Settings) -> Result<Option<(&'static str, Limits)>, SettingsError> {
        let mut first = None;
        let mut count = |key: &'static str| match settings.optional(key) {
            None => Ok(None),
            Some(setting) => {
                first = first.or(Some(key));
                let count = usize::try_from(setting.integer(0, MAX_PROCESSES)?).unwrap_or_default();
                Ok(Some((count, setting)))
            }
        };
        let (min, max) = (count("min")?, count("max")?);
        // Who only says how many there may be at most has not said that there must be one.
        let min = match (&min, &max) {
            (Some((min, _)), _) => *min,
            (None, Some((0, _))) => 0,
            (None, _) => 1,
        };
        if let Some((max, setting)) = &max
            && *max < min
        {
            return Err(setting.error(format_args!("is less than min; no number is at least {min} and at most {max}")));
        }
        let max = max.map(|(max, _)| max);
        let memory = match settings.optional("max-memory") {
            None => None,
            Some(setting) => {
                first = first.or(Some("max-memory"));
                Some(setting.size()?)
            }
        };
        Ok(first.map(|key| (key, Limits { min, max, memory })))
    }
}
