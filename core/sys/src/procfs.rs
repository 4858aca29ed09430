//! The process list as `/proc` shows it: for watching processes we did not start.
//!
//! A process may end between any two reads; it is then simply not listed. Contents are what other processes chose (names, arguments): parsers
//! take any bytes.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::clock;

/// Most that is read of one file. **Units:** bytes. `/proc/PID/stat` is below 1 KiB; of a command line only the first word is wanted, which with
/// its path is at most this.
const MOST_READ: u64 = 4096;

/// One process.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Process {
    /// Its process id.
    pub pid: i32,
    /// The kernel's name for it: at most 15 bytes, whatever the process set it to.
    pub comm: Vec<u8>,
    /// Name of the executed file, without folders; `None` for kernel threads and where it may not be read.
    pub executable: Option<Vec<u8>>,
    /// First word of the command line, without folders; `None` for kernel threads and zombies.
    pub command: Option<Vec<u8>>,
    /// State letter, `Z` for a zombie.
    pub state: u8,
    /// When it started, on the wall clock as the kernel reckons it: the same at every look unless the clock is set. **Units:** nanoseconds
    /// since 1970.
    pub started_at: u64,
}

/// All processes we can see.
///
/// **Errors:** when `/proc` is not there or not a process file system.
///
/// **Source:** proc(5).
pub fn list() -> io::Result<Vec<Process>> {
    let boot = boot_time()?;
    let entries = std::fs::read_dir("/proc")?;
    let numbers = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
    Ok(numbers.filter_map(|pid| look(pid, boot).ok()).collect())
}

/// One process.
///
/// **Errors:** `NotFound` when there is none.
///
/// **Source:** proc_pid(5).
pub fn one(pid: i32) -> io::Result<Process> {
    look(pid, boot_time()?)
}

/// One process, and what it uses.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Usage {
    /// Its process id.
    pub pid: u32,
    /// Its parent's; 0 for those without one.
    pub parent: u32,
    /// The kernel's name for it.
    pub name: String,
    /// The first [`MOST_READ`] bytes of its command line.
    pub command: Vec<String>,
    /// State letter.
    pub state: char,
    /// Its effective user.
    pub user: u32,
    /// How long ago it was started. **Units:** milliseconds.
    pub age_ms: u64,
    /// Resident memory. **Units:** bytes.
    pub memory: u64,
    /// Processor time used, its own and not its children's. **Units:** milliseconds.
    pub cpu_ms: u64,
}

/// All processes we can see and what they use, by number, at most `limit`. Texts that are not UTF-8 have U+FFFD where they are not.
///
/// **Errors:** when `/proc` is not there or not a process file system.
///
/// **Source:** proc_pid_stat(5), proc_pid_status(5), proc_pid_cmdline(5).
pub fn usage(limit: usize) -> io::Result<Vec<Usage>> {
    let up = read_some(Path::new("/proc/uptime"))?;
    let seconds = up.split(|byte| *byte == b'.').next().and_then(number);
    let up_ms = seconds.ok_or(io::ErrorKind::InvalidData)?.saturating_mul(1000);
    let entries = std::fs::read_dir("/proc")?;
    let mut pids: Vec<u32> = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect();
    pids.sort_unstable();
    Ok(pids.into_iter().filter_map(|pid| usage_of(pid, up_ms)).take(limit).collect())
}

fn usage_of(pid: u32, up_ms: u64) -> Option<Usage> {
    let folder = PathBuf::from(format!("/proc/{pid}"));
    let content = read_some(&folder.join("stat")).ok()?;
    let stat = parse_stat(&content)?;
    let status = read_some(&folder.join("status")).ok()?;
    let line = |key: &[u8], index: usize| {
        let rest = status.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(key))?;
        number(rest.split(u8::is_ascii_whitespace).filter(|field| !field.is_empty()).nth(index)?)
    };
    let user = line(b"Uid:", 1)?;
    let command = read_some(&folder.join("cmdline")).unwrap_or_default();
    let words = command.strip_suffix(b"\0").unwrap_or(&command).split(|byte| *byte == 0);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Some(Usage {
        pid,
        parent: u32::try_from(stat.parent).unwrap_or_default(),
        name: text(stat.comm),
        command: if command.is_empty() { Vec::new() } else { words.map(text).collect() },
        state: char::from(stat.state),
        user: u32::try_from(user).ok()?,
        age_ms: up_ms.saturating_sub(clock::from_ticks(stat.start_ticks) / 1_000_000),
        // A zombie has none.
        memory: line(b"VmRSS:", 0).unwrap_or_default().saturating_mul(1024),
        cpu_ms: clock::from_ticks(stat.cpu_ticks) / 1_000_000,
    })
}

/// When the machine started. **Units:** nanoseconds since 1970.
fn boot_time() -> io::Result<u64> {
    let text = std::fs::read("/proc/stat")?;
    let seconds = text.split(|byte| *byte == b'\n').find_map(|line| number(line.strip_prefix(b"btime ")?));
    let missing = || io::Error::new(io::ErrorKind::InvalidData, "/proc/stat has no btime line");
    Ok(seconds.ok_or_else(missing)?.saturating_mul(1_000_000_000))
}

fn look(pid: i32, boot: u64) -> io::Result<Process> {
    let folder = PathBuf::from(format!("/proc/{pid}"));
    let content = read_some(&folder.join("stat"))?;
    let stat = parse_stat(&content).ok_or(io::ErrorKind::InvalidData)?;
    let command = read_some(&folder.join("cmdline")).unwrap_or_default();
    let first = command.split(|byte| *byte == 0).next().map(base_name).filter(|name| !name.is_empty());
    let executable =
        std::fs::read_link(folder.join("exe")).ok().and_then(|path| Some(executable_name(&path)?.to_vec()));
    Ok(Process {
        pid,
        comm: stat.comm.to_vec(),
        executable,
        command: first.map(<[u8]>::to_vec),
        state: stat.state,
        started_at: boot.saturating_add(clock::from_ticks(stat.start_ticks)),
    })
}

fn read_some(path: &Path) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    File::open(path)?.take(MOST_READ).read_to_end(&mut content)?;
    Ok(content)
}

fn base_name(path: &[u8]) -> &[u8] {
    path.rsplit(|byte| *byte == b'/').next().unwrap_or(path)
}

/// The link of a file that was deleted since (an upgrade under a running process) says so after its name.
fn executable_name(path: &Path) -> Option<&[u8]> {
    let name = std::os::unix::ffi::OsStrExt::as_bytes(path.file_name()?);
    Some(name.strip_suffix(b" (deleted)").unwrap_or(name))
}

/// What is wanted of `/proc/PID/stat`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stat<'a> {
    /// The process id.
    pub pid: i32,
    /// The kernel's name; may hold anything, parentheses, spaces and newlines included.
    pub comm: &'a [u8],
    /// State letter.
    pub state: u8,
    /// The parent.
    pub parent: i32,
    /// The process group.
    pub group: i32,
    /// The session.
    pub session: i32,
    /// Processor time of its own, in user and in kernel mode. **Units:** clock ticks.
    pub cpu_ticks: u64,
    /// Start since boot. **Units:** clock ticks.
    pub start_ticks: u64,
}

/// Takes `/proc/PID/stat` apart; `None` if it is not one.
///
/// **Source:** proc_pid_stat(5).
#[must_use]
pub fn parse_stat(content: &[u8]) -> Option<Stat<'_>> {
    // The name is in parentheses and may hold some itself; the fields after it never do.
    let open = content.iter().position(|byte| *byte == b'(')?;
    let close = content.iter().rposition(|byte| *byte == b')')?;
    let pid = signed(content.get(..open)?.trim_ascii_end())?;
    let comm = content.get(open + 1..close)?;
    let mut fields = content.get(close + 1..)?.split(u8::is_ascii_whitespace).filter(|field| !field.is_empty());
    let [state] = fields.next()? else { return None };
    let (parent, group, session) = (signed(fields.next()?)?, signed(fields.next()?)?, signed(fields.next()?)?);
    // Fields 7 to 13 are in between, then 16 to 21.
    let cpu_ticks = number(fields.nth(7)?)?.saturating_add(number(fields.next()?)?);
    let start_ticks = number(fields.nth(6)?)?;
    Some(Stat { pid, comm, state: *state, parent, group, session, cpu_ticks, start_ticks })
}

fn number(digits: &[u8]) -> Option<u64> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

fn signed(digits: &[u8]) -> Option<i32> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{executable_name, list, one, parse_stat};
    use crate::{clock, process};
    use std::io;
    use std::path::Path;
    use std::process::Command;

    const TAIL: &[u8] = b" S 1 4242 4242 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 98765 1000 200 18446744073709551615";

    #[test]
    fn we_are_among_what_uses_the_machine() -> io::Result<()> {
        let own = u32::try_from(process::pid()).map_err(io::Error::other)?;
        let listed =
            super::usage(100_000)?.into_iter().find(|found| found.pid == own).ok_or(io::ErrorKind::NotFound)?;
        assert!(listed.memory > 100_000 && listed.age_ms < 3_600_000 && !listed.command.is_empty(), "{listed:?}");
        assert_eq!(i64::from(listed.parent), i64::from(process::parent()));
        Ok(())
    }

    #[test]
    fn names_may_hold_anything() -> Result<(), &'static str> {
        for comm in [&b"cat"[..], b"", b"a) S 1 (", b"(((", b")))", b"new\nline x", b"\xff\xfe"] {
            let content = [b"4242 (", comm, b")", TAIL].concat();
            let stat = parse_stat(&content).ok_or("not understood")?;
            assert_eq!((stat.pid, stat.comm, stat.state), (4242, comm, b'S'));
            assert_eq!((stat.parent, stat.group, stat.session, stat.start_ticks), (1, 4242, 4242, 98_765));
        }
        Ok(())
    }

    #[test]
    fn what_is_no_stat_is_nothing() {
        let whole = [&b"4242 (cat)"[..], TAIL].concat();
        let needed = whole.windows(5).position(|window| window == b"98765").unwrap_or(0) + 1;
        for end in 0..needed {
            assert_eq!(parse_stat(whole.get(..end).unwrap_or_default()), None, "{end}");
        }
        for wrong in
            [&b")("[..], b"1 )x(", b"x (a) S 1 1 1", b"1 (a) SS 1 1 1", b"1 (a) S - - -", b"99999999999 (a) S 1 1 1"]
        {
            assert_eq!(parse_stat(wrong), None);
        }
    }

    #[test]
    fn finds_us_and_our_start() -> io::Result<()> {
        let own = one(process::pid())?;
        let listed = list()?.into_iter().find(|found| found.pid == own.pid).ok_or(io::ErrorKind::NotFound)?;
        assert_eq!(listed.started_at, own.started_at);
        let name = std::env::current_exe()?;
        let name = executable_name(&name).map(<[u8]>::to_vec);
        assert!(own.executable == name && own.command == name && name.is_some_and(|name| name.starts_with(&own.comm)));
        assert!(clock::wall().abs_diff(own.started_at) < 3_600_000_000_000, "{}", own.started_at);
        assert_eq!(executable_name(Path::new("/a/b (deleted)")), Some(&b"b"[..]));
        Ok(())
    }

    #[test]
    fn a_process_that_is_gone_is_not_found() -> io::Result<()> {
        let mut child = Command::new("/bin/true").spawn()?;
        child.wait()?;
        let pid = i32::try_from(child.id()).map_err(io::Error::other)?;
        assert_eq!(one(pid).map_err(|error| error.kind()).err(), Some(io::ErrorKind::NotFound));
        Ok(())
    }
}
