//! Starting processes.
//!
//! The child shares our memory until it executes its program (`CLONE_VM | CLONE_VFORK`): nothing is copied, we stand still meanwhile, and
//! what failed is simply there to read afterwards. The price is discipline on the child's side, all of it in `order.rs`: everything
//! is prepared before, nothing is allocated, locked, dropped or unwound, and all signals stay blocked until the last moment. `errno`
//! is shared too; each failing call's is read at once on both sides, so no value is expected to outlive another call.
//!
//! Whatever stops the child in that moment (SIGSTOP cannot be blocked) stops us too, until it is continued or killed.
//!
//! A program that cannot be executed is an error of [`spawn`], its process reaped before the error is returned: the reaper never sees
//! it. This module runs no shell, looks up no user names and knows no service.

mod error;
mod order;

use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicPtr, Ordering};

use libc::c_void;

use crate::process::{self, Target};
use crate::reap;
use crate::signal::{self, Mask};
use order::Order;

pub use error::{Kind, SpawnError, Step};

/// Where a program without a slash is looked for when the child has no `PATH`: what musl's execvp(3) does.
pub const DEFAULT_PATH: &str = "/usr/local/bin:/bin:/usr/bin";

/// What to execute.
#[derive(Clone, Copy, Debug)]
pub enum Program<'a> {
    /// A path if there is a slash in it (a relative one counts from the child's directory), else a name looked up in the `PATH` of
    /// the child's environment, as execvp(3) does it; a file without a format the kernel knows is an error and not given to a shell.
    Search(&'a OsStr),
    /// This open file (execveat(2)): our own executable.
    Descriptor(BorrowedFd<'a>),
}

/// Environment of a child.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Environment {
    variables: Vec<(OsString, OsString)>,
}

impl Environment {
    /// Our own.
    #[must_use]
    pub fn inherit() -> Environment {
        Environment { variables: std::env::vars_os().collect() }
    }

    /// No variable at all.
    #[must_use]
    pub fn empty() -> Environment {
        Environment::default()
    }

    /// Sets a variable, in place of all of that name.
    pub fn set(&mut self, name: impl Into<OsString>, value: impl Into<OsString>) {
        let name = name.into();
        self.remove(&name);
        self.variables.push((name, value.into()));
    }

    /// Takes a variable out.
    pub fn remove(&mut self, name: impl AsRef<OsStr>) {
        self.variables.retain(|(known, _)| known != name.as_ref());
    }

    /// The value of a variable.
    #[must_use]
    pub fn get(&self, name: impl AsRef<OsStr>) -> Option<&OsStr> {
        self.variables.iter().find(|(known, _)| known == name.as_ref()).map(|(_, value)| value.as_os_str())
    }
}

/// How the child is separated from us.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Group {
    /// Not at all: our own process group.
    Shared,
    /// A process group of its own.
    Own {
        /// Whether it becomes the foreground group of the terminal on our standard input, if that is ours to give.
        foreground: bool,
    },
    /// A session of its own.
    Session {
        /// Whether it takes the terminal on our standard input as its own, if that is free.
        terminal: bool,
    },
}

/// Whom the child runs as.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Identity {
    /// Real, effective and saved user.
    pub uid: u32,
    /// Real, effective and saved group.
    pub gid: u32,
    /// Supplementary groups; all others are dropped.
    pub groups: Vec<u32>,
}

impl Identity {
    /// All ones means "leave as it is" to the kernel, and is nobody's id.
    pub(crate) fn is_valid(&self) -> bool {
        self.groups.iter().chain([&self.uid, &self.gid]).all(|id| *id != u32::MAX)
    }
}

/// What setrlimit(2) limits.
#[expect(missing_docs, reason = "each is the RLIMIT_ constant of its name, described in setrlimit(2)")]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Resource {
    AddressSpace,
    Core,
    Cpu,
    Data,
    Descriptors,
    FileSize,
    Locks,
    LockedMemory,
    MessageQueue,
    Nice,
    Processes,
    RealtimePriority,
    RealtimeTime,
    ResidentSet,
    PendingSignals,
    Stack,
}

/// What to start, and how. [`Spec::new`] has the defaults.
#[derive(Debug)]
pub struct Spec<'a> {
    /// What to execute.
    pub program: Program<'a>,
    /// Its arguments, its own name first; at least that one.
    pub argv: &'a [OsString],
    /// Its environment.
    pub env: Environment,
    /// Where it starts; our own directory if `None`.
    pub directory: Option<&'a Path>,
    /// Descriptors of ours and the numbers they get in the child; the numbers may overlap those of ours in any way. The standard streams are
    /// inherited unless listed; everything of ours is close-on-exec.
    pub descriptors: &'a [(BorrowedFd<'a>, RawFd)],
    /// Whether every other descriptor from 3 up is closed too, even one we were started with and never knew of.
    pub close_rest: bool,
    /// How it is separated from us.
    pub group: Group,
    /// Signal it gets when we die; 0 for none. Ours is the thread that calls [`spawn`].
    pub parent_death_signal: u8,
    /// File mode creation mask; our own if `None`.
    pub umask: Option<u32>,
    /// Whom it runs as; ourselves if `None`.
    pub user: Option<Identity>,
    /// Whether executing a file can never add privileges (`PR_SET_NO_NEW_PRIVS`).
    pub no_new_privileges: bool,
    /// Soft and hard limits; `u64::MAX` is none.
    pub limits: &'a [(Resource, u64, u64)],
    /// Its OOM score adjustment, -1000 to 1000. Tried, not insisted on: `/proc` may be missing, lowering needs a capability.
    pub oom_score_adjust: Option<i16>,
}

impl<'a> Spec<'a> {
    /// A child in a process group of its own, otherwise like us.
    #[must_use]
    pub fn new(program: Program<'a>, argv: &'a [OsString], env: Environment) -> Spec<'a> {
        Spec {
            program,
            argv,
            env,
            directory: None,
            descriptors: &[],
            close_rest: false,
            group: Group::Own { foreground: false },
            parent_death_signal: 0,
            umask: None,
            user: None,
            no_new_privileges: false,
            limits: &[],
            oom_score_adjust: None,
        }
    }
}

/// A process [`spawn`] started. It is not reaped when this is dropped.
#[derive(Debug)]
pub struct Child {
    /// Its process id.
    pub pid: i32,
    /// A descriptor for it, close-on-exec; `None` on Linux before 5.2, and when our descriptors are used up.
    pub pidfd: Option<OwnedFd>,
}

impl Child {
    /// Sends it a signal.
    ///
    /// **Order:** only while it is not reaped: where pidfd_send_signal(2) is not allowed (seccomp profiles of the time before it), its pid
    /// is used.
    ///
    /// **Errors:** `ESRCH` when it is gone.
    pub fn signal(&self, signal: u8) -> io::Result<()> {
        let by_pidfd = self.pidfd.as_ref().map(|pidfd| process::signal(Target::Pidfd(pidfd.as_fd()), signal));
        match by_pidfd {
            Some(Ok(())) => Ok(()),
            Some(Err(error)) if error.raw_os_error() == Some(libc::ESRCH) => Err(error),
            Some(Err(_)) | None => process::signal(Target::Pid(self.pid), signal),
        }
    }
}

/// Starts a process and returns once its program was executed, or could not be.
///
/// The child begins with an empty signal mask, all signals at their defaults, and, if `raise_descriptor_limit` was called, with the limit
/// from before it.
///
/// **Errors:** [`SpawnError`] with the step that failed; no process is left behind.
///
/// **Source:** clone(2), execve(2).
pub fn spawn(spec: &Spec<'_>) -> Result<Child, SpawnError> {
    let order = Order::prepare(spec)?;
    let stack = Stack::take().map_err(|error| SpawnError::at(Step::Create, spec, error))?;
    let cloned = Mask::ALL.swap().and_then(|before| {
        let cloned = clone(&order, &stack);
        before.set()?;
        cloned
    });
    stack.put_back();
    let child = cloned.map_err(|error| SpawnError::at(Step::Create, spec, error))?;
    match order.failure() {
        None => Ok(child),
        Some(failure) => {
            // It has ended or is about to. If it cannot be waited for, SIGCHLD is ignored and the kernel has taken it.
            let _ended = reap::reap_now(child.pid);
            Err(SpawnError::of(failure, spec, &order))
        }
    }
}

/// Runs `order` in a new process on `stack`.
fn clone(order: &Order, stack: &Stack) -> io::Result<Child> {
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
    let mut pidfd: RawFd = -1;
    let argument = std::ptr::from_ref(order).cast_mut().cast::<c_void>();
    let place = &raw mut pidfd;
    // SAFETY: clone(2): `stack` is the top of a mapping nobody else uses (`Stack::take`); with CLONE_VFORK we do not go on before the child
    // has left it, so `order` and `pidfd` outlive its use of them; `order::run` takes an `Order` pointer.
    let mut pid = unsafe { libc::clone(order::run, stack.top(), flags | libc::CLONE_PIDFD, argument, place) };
    let refused = [libc::EINVAL, libc::EMFILE, libc::ENFILE];
    if pid < 0 && io::Error::last_os_error().raw_os_error().is_some_and(|error| refused.contains(&error)) {
        // SAFETY: as above; the first attempt made no process.
        pid = unsafe { libc::clone(order::run, stack.top(), flags, argument) };
    }
    signal::outcome(pid.into())?;
    // SAFETY: not -1, so CLONE_PIDFD made this descriptor for us (Linux before 5.2 ignores the flag and leaves the -1).
    let pidfd = (pidfd >= 0).then(|| unsafe { OwnedFd::from_raw_fd(pidfd) });
    Ok(Child { pid, pidfd })
}

/// The stack a child runs on until it executes its program.
#[derive(Debug)]
struct Stack {
    base: NonNull<c_void>,
}

/// **Units:** bytes. The child's calls nest three deep and hold no buffer beyond one signal action; what is not touched takes no memory.
/// A multiple of every page size in use (64 KiB at most), as is the guard below it.
const STACK_SIZE: usize = 64 * 1024;
const GUARD_SIZE: usize = 64 * 1024;

/// The stack of the last spawn, for the next one.
static SPARE: AtomicPtr<c_void> = AtomicPtr::new(std::ptr::null_mut());

impl Stack {
    fn take() -> io::Result<Stack> {
        match NonNull::new(SPARE.swap(std::ptr::null_mut(), Ordering::Acquire)) {
            Some(base) => Ok(Stack { base }),
            None => Ok(Stack { base: map_stack(GUARD_SIZE, STACK_SIZE)? }),
        }
    }

    fn put_back(self) {
        let stack = ManuallyDrop::new(self);
        let kept =
            SPARE.compare_exchange(std::ptr::null_mut(), stack.base.as_ptr(), Ordering::Release, Ordering::Relaxed);
        if kept.is_err() {
            drop(ManuallyDrop::into_inner(stack));
        }
    }

    fn top(&self) -> *mut c_void {
        self.base.as_ptr().wrapping_byte_add(GUARD_SIZE + STACK_SIZE)
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        // SAFETY: munmap(2): `base` is a mapping of exactly this length (`map_stack`) that no child uses any more, since `spawn` holds
        // the `Stack` until clone(2) has returned.
        unsafe { libc::munmap(self.base.as_ptr(), GUARD_SIZE + STACK_SIZE) };
    }
}

/// Maps `guard` bytes that cannot be touched and above them `size` bytes of stack, and returns the lower end of all of it.
pub(crate) fn map_stack(guard: usize, size: usize) -> io::Result<NonNull<c_void>> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | libc::MAP_STACK;
    // SAFETY: mmap(2) without MAP_FIXED takes memory nobody has.
    let base = unsafe { libc::mmap(std::ptr::null_mut(), guard + size, libc::PROT_NONE, flags, -1, 0) };
    if base == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    let usable = base.wrapping_byte_add(guard);
    // SAFETY: mprotect(2) on the upper part of the mapping just made, whose address nobody has yet.
    let opened = unsafe { libc::mprotect(usable, size, libc::PROT_READ | libc::PROT_WRITE) };
    if opened != 0 {
        let error = io::Error::last_os_error();
        // SAFETY: munmap(2) of the mapping just made, whose address nobody has yet.
        unsafe { libc::munmap(base, guard + size) };
        return Err(error);
    }
    NonNull::new(base).ok_or_else(|| io::Error::from_raw_os_error(libc::ENOMEM))
}

/// A C string, or `InvalidInput` for one with a zero byte in it.
fn c_string(bytes: Vec<u8>) -> io::Result<CString> {
    CString::new(bytes).map_err(|error| {
        let shown = OsString::from_vec(error.into_vec());
        io::Error::new(io::ErrorKind::InvalidInput, format!("{shown:?} has a zero byte in it"))
    })
}

/// The paths to try for a program, in order. One with a slash is itself; so is an empty one, which leads to `ENOENT`.
fn candidates(program: &OsStr, path: Option<&OsStr>) -> io::Result<Vec<CString>> {
    let name = program.as_bytes();
    let itself = c_string(name.to_vec())?;
    if name.is_empty() || name.contains(&b'/') {
        return Ok(vec![itself]);
    }
    let folders = path.unwrap_or(OsStr::new(DEFAULT_PATH)).as_bytes().split(|byte| *byte == b':');
    folders
        .map(|folder| {
            let mut candidate = Vec::with_capacity(folder.len() + 1 + name.len());
            candidate.extend_from_slice(folder);
            if !folder.is_empty() && !folder.ends_with(b"/") {
                candidate.push(b'/');
            }
            candidate.extend_from_slice(name);
            c_string(candidate)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{Environment, candidates};
    use std::ffi::{CString, OsStr};
    use std::io;

    fn listed(program: &str, path: Option<&str>) -> io::Result<Vec<CString>> {
        candidates(OsStr::new(program), path.map(OsStr::new))
    }

    #[test]
    fn candidates_follow_execvp() -> io::Result<()> {
        assert_eq!(listed("./a", Some("/bin"))?, [c"./a".to_owned()]);
        assert_eq!(listed("", Some("/bin"))?, [c"".to_owned()]);
        assert_eq!(
            listed("a", None)?,
            [c"/usr/local/bin/a".to_owned(), c"/bin/a".to_owned(), c"/usr/bin/a".to_owned()]
        );
        assert_eq!(listed("a", Some("/x/::y"))?, [c"/x/a".to_owned(), c"a".to_owned(), c"y/a".to_owned()]);
        assert_eq!(listed("a", Some(""))?, [c"a".to_owned()]);
        assert_eq!(listed("a\0b", None).map_err(|error| error.kind()), Err(io::ErrorKind::InvalidInput));
        Ok(())
    }

    #[test]
    fn an_environment_holds_each_name_once() {
        let mut env = Environment::empty();
        env.set("A", "1");
        env.set("B", "2");
        env.set("A", "3");
        assert_eq!((env.get("A"), env.get("B")), (Some(OsStr::new("3")), Some(OsStr::new("2"))));
        assert_eq!(env.variables.len(), 2);
        env.remove("A");
        assert_eq!(env.get("A"), None);
    }
}
