//! The worker alone, with the channel to its PID 1 as standard input: what the tests and measurements start. With an argument it first
//! makes that folder its root.

use std::error::Error;
use std::io;
use std::os::fd::AsFd;

use hilum_sandbox::serve;
use hilum_sys::channel::Channel;

fn main() -> Result<(), Box<dyn Error>> {
    if let Some(root) = std::env::args_os().nth(1) {
        std::os::unix::fs::chroot(root)?;
        std::env::set_current_dir("/")?;
    }
    let channel = Channel::from_descriptor(io::stdin().as_fd().try_clone_to_owned()?);
    Ok(serve(channel, Vec::new())?)
}
