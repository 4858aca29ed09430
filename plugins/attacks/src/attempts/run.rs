//! Has a command run, as often as told, and counts the ways it came out.

use hilum_plugin::{CommandError, Ending, Host};

use super::{Tried, stopped};
use crate::given::Given;

pub(super) fn attempt(given: &Given, host: &impl Host) -> Tried {
    let name = given.text("command")?;
    let (mut exited, mut signaled, mut denied, mut failed, mut late, mut full) = (0, 0, 0, 0, 0, 0);
    let mut written = 0;
    for _ in 0..given.number("times")? {
        match host.run(name) {
            Ok(output) => {
                match output.ending {
                    Ending::Exited(_) => exited += 1,
                    Ending::Signaled(_) => signaled += 1,
                }
                written = output.stdout.len().max(output.stderr.len()).max(written);
            }
            Err(CommandError::Denied(_)) => denied += 1,
            Err(CommandError::Failed(_)) => failed += 1,
            Err(CommandError::TimedOut) => late += 1,
            Err(CommandError::Limit(_)) => full += 1,
        }
    }
    Ok(stopped(&format!(
        "{exited} exited, {signaled} signaled, {denied} denied, {failed} failed, {late} late, {full} limited, at most {written} bytes"
    )))
}
