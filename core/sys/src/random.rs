//! Chance from the kernel.

use std::io;

use rustix::rand::{GetRandomFlags, getrandom};

/// Fills `bytes`. Waits only in the first seconds of a machine's life, until the kernel has gathered enough.
///
/// **Errors:** of getrandom(2): the call is not permitted.
///
/// **Source:** getrandom(2).
pub fn fill(mut bytes: &mut [u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let count = match getrandom(&mut *bytes, GetRandomFlags::empty()) {
            Err(rustix::io::Errno::INTR) => continue,
            result => result?,
        };
        bytes = bytes.get_mut(count..).unwrap_or_default();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_byte_is_filled() -> std::io::Result<()> {
        let mut bytes = [0; 4096];
        super::fill(&mut bytes)?;
        assert!(bytes.chunks(64).all(|chunk| chunk.iter().any(|byte| *byte != 0)));
        Ok(())
    }
}
