//! Command lines, hilum's own and those of the tools it stands in for. The first byte picks the name; then words, each ended by a zero byte;
//! words with a leading byte 1 are variables of the environment.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use hilum::cli::{self, Command};
use hilum::personality::{Facts, TOOLS};

/// Reads `input` as a command line.
pub fn command_line(input: &[u8]) {
    let Some((name, rest)) = input.split_first() else { return };
    let names: Vec<&str> = TOOLS.into_iter().chain(["hilum"]).collect();
    let mut argv = vec![OsString::from(names[usize::from(*name) % names.len()])];
    let mut variables = Vec::new();
    for word in rest.split(|byte| *byte == 0).take(256) {
        match word {
            [1, variable @ ..] => {
                let mut halves = variable.splitn(2, |byte| *byte == b'=');
                let name = String::from_utf8_lossy(halves.next().unwrap_or_default()).into_owned();
                variables.push((name, OsStr::from_bytes(halves.next().unwrap_or_default()).to_owned()));
            }
            word => argv.push(OsStr::from_bytes(word).to_owned()),
        }
    }
    let environment = |name: &str| variables.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
    match cli::read(&argv, &environment, Facts { pid: 1 }) {
        Command::Start(launch) => {
            // catatonit -P pauses: a plan without services.
            let pause = argv.iter().any(|word| word.to_string_lossy().contains("catatonit"));
            assert!(pause || !launch.services.is_empty(), "{argv:?} starts nothing");
            assert_eq!(launch.plan.services.len(), launch.services.len());
            for (plan, start) in launch.plan.services.iter().zip(&launch.services) {
                assert!(!start.command.is_empty(), "{argv:?} has no command");
                assert!(plan.restart.backoff.factor >= 1000 && plan.restart.backoff.jitter <= 1000);
            }
        }
        Command::Print { stdout, stderr, code } => {
            assert!(code != 0 || !stdout.is_empty() || !stderr.is_empty(), "{argv:?} does nothing, with success");
        }
        Command::Watch(_) | Command::Up(_) | Command::Check(_) | Command::Install(_) => {}
    }
}
