//! The worker roles this executable plays when PID 1 starts it again.

use std::error::Error;
use std::ffi::OsString;
use std::iter;
use std::os::fd::OwnedFd;

use hilum_sys::channel::Channel;
use hilum_sys::{confine, inherit};

use crate::worker::CHANNEL_DESCRIPTOR;

/// Exit code of a worker that cannot do its work; PID 1 replaces it.
const FAILED: u8 = 1;

/// `hilum worker ROLE PARENT [LISTENERS]`: serves PID 1, the process PARENT, until it closes the channel.
///
/// Everything a worker could be abused for is given up before the first byte is read.
pub(crate) fn worker(words: &[OsString]) -> u8 {
    let played = match words {
        [role, parent, listeners] if role == "status" => status(number(parent), number(listeners)),
        [role, parent] if role == "sandbox" => sandbox(number(parent)),
        _ => Err("this command is for hilum's own use".to_owned()),
    };
    match played {
        Ok(()) => 0,
        Err(message) => {
            // Best effort: standard error is PID 1's, and its log says that the worker was lost in any case.
            let line = format!("hilum: worker: {message}\n");
            let _ = hilum_sys::output::Output::stderr().write(line.as_bytes());
            FAILED
        }
    }
}

/// A word hilum itself wrote; anything else is nobody's pid and no listener.
fn number(word: &OsString) -> i32 {
    word.to_str().and_then(|word| word.parse().ok()).unwrap_or(0)
}

/// What the environment does not let us give up is said to PID 1, not fatal: a container without the right to change users has none to abuse.
fn give_up_rights(parent: i32) -> Vec<String> {
    confine::worker(None, parent).iter().map(|refused| format!("{}: {}", refused.what, refused.error)).collect()
}

/// An error and what caused it, to the root.
fn whole(error: &dyn Error) -> String {
    let causes = iter::successors(Some(error), |&error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

fn take(number: i32) -> Result<OwnedFd, String> {
    inherit::take(number).map_err(|error| format!("cannot take over descriptor {number}: {error}"))
}

fn channel() -> Result<Channel, String> {
    take(CHANNEL_DESCRIPTOR).map(Channel::from_descriptor)
}

fn status(parent: i32, count: i32) -> Result<(), String> {
    let channel = channel()?;
    let first = CHANNEL_DESCRIPTOR + 1;
    let listeners = (first..first.saturating_add(count)).map(take).collect::<Result<Vec<_>, _>>()?;
    hilum_sys::process::raise_descriptor_limit();
    let refused = give_up_rights(parent);
    hilum_status::serve(channel, listeners, refused).map_err(|error| whole(&error))
}

fn sandbox(parent: i32) -> Result<(), String> {
    let channel = channel()?;
    let refused = give_up_rights(parent);
    hilum_sandbox::serve(channel, refused).map_err(|error| whole(&error))
}
