//! Probe: a command that the plan declares, and how it ends. The plugin only names it; what is run, and as whom, is the plan's and PID 1's.
//!
//! What each setting means is said in the README; what is a failure and what is unknown is
//! [`CommandError::outcome`](hilum_plugin::CommandError::outcome)'s rule.
#![forbid(unsafe_code)]

mod signal;

use hilum_plugin::{
    CommandOutput, Description, Ending, Grant, Host, Outcome, Plugin, Probe, Request, Settings, SettingsError, holds,
    shown, shown_end,
};

/// The plugin.
#[derive(Debug)]
pub struct ProbeExec;

impl Plugin for ProbeExec {
    type Settings = Question;

    fn describe() -> Description {
        Description {
            name: "probe-exec",
            version: env!("CARGO_PKG_VERSION"),
            settings_schema: include_str!("../settings.json"),
            grants: vec![Grant { kind: "exec", value: None, reason: "command of the settings" }],
        }
    }

    fn read(settings: &mut Settings) -> Result<Question, SettingsError> {
        let command = settings.required("command", "command = \"NAME\", for what [command.NAME] of the plan runs")?;
        let name = command.string().unwrap_or_default();
        if name.is_empty() || name.contains(|c: char| c == '/' || c.is_whitespace()) {
            return Err(command.error(
                "must be the NAME of a [command.NAME] of the plan, which says what to run; it is no command line",
            ));
        }
        let mut codes = Vec::new();
        match settings.optional("expect-exit") {
            None => codes.push(0),
            Some(expected) => {
                let none = expected.error("has no code in it; write expect-exit = [0]");
                for code in expected.items() {
                    codes.push(u8::try_from(code.integer(0, 255)?).unwrap_or(u8::MAX));
                }
                if codes.is_empty() {
                    return Err(none);
                }
            }
        }
        let text = match settings.optional("expect-output") {
            None => None,
            Some(expected) => match expected.string()? {
                "" => return Err(expected.error("is empty, which any output holds; leave it out, or write a text")),
                text => Some(text.to_owned()),
            },
        };
        Ok(Question { command: name.to_owned(), codes, text })
    }
}

impl Probe for ProbeExec {
    fn check(question: &Question, _: &Request, host: &impl Host) -> Outcome {
        match host.run(&question.command) {
            Ok(output) => question.judge(&output),
            Err(error) => error.outcome(&format!("run command {} to its end", question.command)),
        }
    }
}

hilum_plugin::export!(ProbeExec);

/// What to run, and what is expected of it.
#[derive(Debug)]
pub struct Question {
    command: String,
    /// At least one.
    codes: Vec<u8>,
    text: Option<String>,
}

impl Question {
    fn judge(&self, output: &CommandOutput) -> Outcome {
        let command = &self.command;
        let fail = |story: String| Outcome::Fail(format!("command {command} {story}; {}", wrote(output)));
        match output.ending {
            Ending::Signaled(number) => return fail(format!("was killed by {}", signal::name(number))),
            Ending::Exited(code) if !self.codes.contains(&code) => {
                let expected: Vec<String> = self.codes.iter().map(u8::to_string).collect();
                return fail(format!("ended with code {code}, expected {}", expected.join(" or ")));
            }
            Ending::Exited(_) => {}
        }
        match &self.text {
            Some(text) if !holds(&output.stdout, text.as_bytes()) => {
                fail(format!("did not write {} to its standard output", shown(text.as_bytes())))
            }
            _ => Outcome::Pass,
        }
    }
}

/// The ends of what it wrote, the more telling one first.
fn wrote(output: &CommandOutput) -> String {
    let (said, complained) = (output.stdout.trim_ascii_end(), output.stderr.trim_ascii_end());
    let beginning = if output.cut { " (the first 64 KiB are known)" } else { "" };
    match (complained.is_empty(), said.is_empty()) {
        (true, true) => "it wrote nothing".to_owned(),
        (true, false) => format!("its output{beginning} ends in {}", shown_end(said)),
        (false, true) => format!("its standard error{beginning} ends in {}", shown_end(complained)),
        (false, false) => format!(
            "its standard error{beginning} ends in {}, its output in {}",
            shown_end(complained),
            shown_end(said)
        ),
    }
}
