//! Memory straight from the kernel, for room that is large and mostly not used.

use std::io;
use std::ops::{Deref, DerefMut};
use std::ptr::{self, NonNull};
use std::slice;

use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};

/// Bytes that are zero until they are written to, and take no memory until then, a page at a time. An allocator may write to all it hands out.
#[derive(Debug)]
pub struct Pages {
    start: NonNull<u8>,
    len: usize,
}

impl Pages {
    /// Room for `len` bytes.
    ///
    /// **Errors:** of mmap(2): `len` is 0, or more than there is address space for.
    ///
    /// **Source:** mmap(2).
    pub fn new(len: usize) -> io::Result<Pages> {
        // SAFETY: with no address asked for, a new mapping overlaps nothing that is in use.
        let start =
            unsafe { mmap_anonymous(ptr::null_mut(), len, ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE) }?;
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Pages { start, len })
    }
}

impl Deref for Pages {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: the mapping is readable, zeroed, `len` bytes long and ours until it is dropped.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl DerefMut for Pages {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as for `deref`, and writable; nobody else has it while it is borrowed.
        unsafe { slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: it is the whole mapping, and all borrows of it have ended. It cannot fail then.
        let _unmapped = unsafe { munmap(self.start.as_ptr().cast(), self.len) };
    }
}

#[cfg(test)]
mod tests {
    use super::Pages;
    use std::io;

    /// Pages of a mapping that are in memory. **Source:** proc_pid_smaps(5).
    fn resident(pages: &Pages) -> io::Result<u64> {
        let start = format!("{:x}-", pages.as_ptr().addr());
        let maps = std::fs::read_to_string("/proc/self/smaps")?;
        let ours = maps.lines().skip_while(|line| !line.starts_with(&start));
        let rss = ours.clone().find_map(|line| line.strip_prefix("Rss:")).unwrap_or_default();
        rss.trim_end_matches("kB").trim().parse().map_err(io::Error::other)
    }

    #[test]
    fn only_what_is_written_to_takes_memory() -> io::Result<()> {
        let mut pages = Pages::new(1 << 20)?;
        assert_eq!(resident(&pages)?, 0);
        assert!(pages.iter().all(|byte| *byte == 0));
        assert_eq!(pages.len(), 1 << 20);
        if let Some(last) = pages.last_mut() {
            *last = 1;
        }
        assert!((1..=64).contains(&resident(&pages)?));
        assert_eq!(pages.iter().map(|byte| usize::from(*byte)).sum::<usize>(), 1);
        assert!(Pages::new(0).is_err());
        Ok(())
    }
}
