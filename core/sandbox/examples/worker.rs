//! The worker alone, with the channel to its PID 1 as standard input: what the tests and measurements start. With `--confine` it first gives up
//! what PID 1's workers give up; with a folder it makes that its root.

use std::error::Error;
use std::io;
use std::os::fd::AsFd;

use hilum_sandbox::serve;
use hilum_sys::channel::Channel;
use hilum_sys::{confine, process};

fn main() -> Result<(), Box<dyn Error>> {
    let mut refused = Vec::new();
    for argument in std::env::args_os().skip(1) {
        if argument == "--confine" {
            let kept = confine::worker(None, process::parent());
            refused.extend(kept.iter().map(|kept| format!("{}: {}", kept.what, kept.error)));
        } else {
            std::os::unix::fs::chroot(argument)?;
            std::env::set_current_dir("/")?;
        }
    }
    let channel = Channel::from_descriptor(io::stdin().as_fd().try_clone_to_owned()?);
    Ok(serve(channel, refused)?)
}
