//! Which system calls a sealed worker may make: tables, by name, for each machine hilum is built for.
//!
//! The allowed are what wasmtime does after its plugins are loaded, what tokio does on one thread, what a name look-up and a thread
//! start do in musl and in glibc, and files. The killed are what none of our code does and an attacker wants: whoever tries them is not
//! asked twice. All others are refused with an error, which libraries that try a newer call first can live with. This file judges
//! nothing by itself; `filter.rs` makes a program of it.

use libc::c_long;

/// What the filter says to a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Answer {
    /// Go on.
    Allow,
    /// The call fails with this error number.
    Refuse(i32),
    /// The process ends with SIGSYS, all its threads at once.
    Kill,
}

/// A look at 32 bits of an argument: after `mask`, they must be one of `among`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Test {
    /// Which half of which argument, counted from the low half of the first.
    pub(super) half: u8,
    /// The bits looked at.
    pub(super) mask: u32,
    /// What they may be.
    pub(super) among: &'static [u32],
}

/// A call that is judged by its arguments.
#[derive(Clone, Copy, Debug)]
pub(super) struct Judged {
    /// The call.
    pub(super) number: c_long,
    /// The tests, all of which must hold.
    pub(super) tests: &'static [Test],
    /// The answer if they do.
    pub(super) met: Answer,
    /// The answer if one does not.
    pub(super) otherwise: Answer,
}

const DENIED: Answer = Answer::Refuse(libc::EPERM);

/// All bits: the argument is an int, and compared as a whole.
const WHOLE: u32 = u32::MAX;

/// The low half of argument `index`, all there is of an int.
const fn low(index: u8) -> u8 {
    2 * index
}

/// The high half of argument `index`, always zero on 32-bit machines.
const fn high(index: u8) -> u8 {
    2 * index + 1
}

const fn allowed_if(number: c_long, tests: &'static [Test]) -> Judged {
    Judged { number, tests, met: Answer::Allow, otherwise: DENIED }
}

const fn denied_if(number: c_long, tests: &'static [Test]) -> Judged {
    Judged { number, tests, met: DENIED, otherwise: Answer::Allow }
}

/// The file controls (FIONBIO, FIONREAD, TIOCGWINSZ) that tokio, std and isatty(3) use. **Source:** asm-generic/ioctls.h.
const CONTROLS: &[u32] = &[0x5421, 0x541b, 0x5413];

/// Namespaces a thread could be started in. Only with capabilities; no thread of ours asks.
const NAMESPACES: u32 = (libc::CLONE_NEWNS
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWCGROUP)
    .cast_unsigned();
const THREAD: u32 = libc::CLONE_THREAD.cast_unsigned();

const EXECUTABLE: u32 = libc::PROT_EXEC.cast_unsigned();
/// No memory becomes executable after the seal.
const NOT_EXECUTABLE: &[Test] = &[Test { half: low(2), mask: EXECUTABLE, among: &[0] }];

const FAST_OPEN: u32 = libc::MSG_FASTOPEN.cast_unsigned();
/// Sending with this flag connects without connect(2), and so past the ports that Landlock allows.
const CONNECTS: &[u32] = &[FAST_OPEN];

const ABORT: &[u32] = &[libc::SIGABRT.cast_unsigned()];

/// Nobody takes over the signals of a descriptor: they can be aimed at any process of the same user.
const OWNERS: &[u32] = &[libc::F_SETOWN.cast_unsigned(), F_SETOWN_EX];
/// **Source:** asm-generic/fcntl.h.
const F_SETOWN_EX: u32 = 15;

#[cfg(target_arch = "arm")]
pub(super) const MMAP: c_long = libc::SYS_mmap2;
#[cfg(not(target_arch = "arm"))]
pub(super) const MMAP: c_long = libc::SYS_mmap;

/// The calls that depend on how they are made.
pub(super) const JUDGED: &[Judged] = &[
    allowed_if(MMAP, NOT_EXECUTABLE),
    allowed_if(libc::SYS_mprotect, NOT_EXECUTABLE),
    allowed_if(libc::SYS_pkey_mprotect, NOT_EXECUTABLE),
    denied_if(libc::SYS_sendto, &[Test { half: low(3), mask: FAST_OPEN, among: CONNECTS }]),
    denied_if(libc::SYS_sendmsg, &[Test { half: low(2), mask: FAST_OPEN, among: CONNECTS }]),
    denied_if(libc::SYS_sendmmsg, &[Test { half: low(3), mask: FAST_OPEN, among: CONNECTS }]),
    denied_if(libc::SYS_fcntl, &[Test { half: low(1), mask: WHOLE, among: OWNERS }]),
    #[cfg(target_arch = "arm")]
    denied_if(libc::SYS_fcntl64, &[Test { half: low(1), mask: WHOLE, among: OWNERS }]),
    allowed_if(libc::SYS_ioctl, &[Test { half: low(1), mask: WHOLE, among: CONTROLS }]),
    // The protocol too: MPTCP is TCP to the peer and not to Landlock, and so goes past its ports.
    allowed_if(
        libc::SYS_socket,
        &[
            Test {
                half: low(0),
                mask: WHOLE,
                among: &[libc::AF_UNIX.cast_unsigned(), libc::AF_INET.cast_unsigned(), libc::AF_INET6.cast_unsigned()],
            },
            Test {
                half: low(1),
                mask: !(libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC).cast_unsigned(),
                among: &[libc::SOCK_STREAM.cast_unsigned(), libc::SOCK_DGRAM.cast_unsigned()],
            },
            Test {
                half: low(2),
                mask: WHOLE,
                among: &[0, libc::IPPROTO_TCP.cast_unsigned(), libc::IPPROTO_UDP.cast_unsigned()],
            },
        ],
    ),
    // A thread, or nothing.
    Judged {
        number: libc::SYS_clone,
        tests: &[Test { half: low(0), mask: THREAD | NAMESPACES, among: &[THREAD] }],
        met: Answer::Allow,
        otherwise: Answer::Kill,
    },
    // Its flags are in memory, where no filter can look. Whoever gets this error takes clone(2) instead.
    Judged { number: libc::SYS_clone3, tests: &[], met: Answer::Refuse(libc::ENOSYS), otherwise: DENIED },
    allowed_if(
        libc::SYS_prctl,
        &[Test {
            half: low(0),
            mask: WHOLE,
            among: &[libc::PR_SET_NAME.cast_unsigned(), libc::PR_SET_VMA.cast_unsigned()],
        }],
    ),
    // Only to read a limit: there is no new one.
    allowed_if(
        libc::SYS_prlimit64,
        &[Test { half: low(2), mask: WHOLE, among: &[0] }, Test { half: high(2), mask: WHOLE, among: &[0] }],
    ),
    // The calling thread steps back behind the others.
    allowed_if(libc::SYS_sched_setattr, &[Test { half: low(0), mask: WHOLE, among: &[0] }]),
    // abort(3), and no other signal to anybody.
    allowed_if(libc::SYS_tkill, &[Test { half: low(1), mask: WHOLE, among: ABORT }]),
    allowed_if(libc::SYS_tgkill, &[Test { half: low(2), mask: WHOLE, among: ABORT }]),
];

/// The calls that are allowed whatever their arguments are, the most frequent topics first.
pub(super) const ALLOWED: &[&[c_long]] = &[STREAMS, TIME, THREADS, MEMORY, NETWORK, FILES, OURSELVES, HERE];

const STREAMS: &[c_long] = &[
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_readv,
    libc::SYS_writev,
    libc::SYS_close,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_create1,
    libc::SYS_eventfd2,
    libc::SYS_ppoll,
];

const TIME: &[c_long] = &[
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_gettimeofday,
    libc::SYS_timerfd_create,
    libc::SYS_timerfd_settime,
    libc::SYS_timerfd_gettime,
];

const THREADS: &[c_long] = &[
    libc::SYS_futex,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_set_robust_list,
    libc::SYS_membarrier,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_restart_syscall,
    libc::SYS_exit,
    libc::SYS_exit_group,
];

const MEMORY: &[c_long] = &[
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_brk,
    // wasmtime keeps the first contents of a plugin's memory in one.
    libc::SYS_memfd_create,
];

/// Nothing that accepts connections. UDP is bound by musl's resolver; binding TCP is Landlock's to refuse, and listening ours.
const NETWORK: &[c_long] = &[
    libc::SYS_connect,
    libc::SYS_bind,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_getsockopt,
    libc::SYS_setsockopt,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    libc::SYS_shutdown,
];

/// No links, no devices, no change of owner or mode: Landlock has no say in the latter two.
const FILES: &[c_long] = &[
    libc::SYS_openat,
    libc::SYS_openat2,
    libc::SYS_statx,
    libc::SYS_fstat,
    libc::SYS_lseek,
    libc::SYS_pread64,
    libc::SYS_pwrite64,
    // Writing at the end of a file that is not open for that only, as WASI has it.
    libc::SYS_pwritev2,
    libc::SYS_getdents64,
    libc::SYS_readlinkat,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_ftruncate,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_unlinkat,
    libc::SYS_mkdirat,
    libc::SYS_utimensat,
];

const OURSELVES: &[c_long] = &[
    libc::SYS_getrandom,
    libc::SYS_gettid,
    libc::SYS_getpid,
    libc::SYS_getppid,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_uname,
    libc::SYS_sysinfo,
];

/// What else there is on this machine: the forms of old, which musl still uses where they exist.
#[cfg(target_arch = "x86_64")]
const HERE: &[c_long] = &[
    libc::SYS_epoll_wait,
    libc::SYS_poll,
    libc::SYS_time,
    libc::SYS_rseq,
    libc::SYS_open,
    libc::SYS_stat,
    libc::SYS_lstat,
    libc::SYS_newfstatat,
    libc::SYS_access,
    libc::SYS_readlink,
    libc::SYS_rename,
    libc::SYS_unlink,
    libc::SYS_rmdir,
    libc::SYS_mkdir,
];

/// What else there is on this machine.
#[cfg(target_arch = "aarch64")]
const HERE: &[c_long] = &[libc::SYS_rseq, libc::SYS_newfstatat];

/// What else there is on this machine: the forms of old, and those with wider numbers. For the times of 64 bits libc has no names here.
///
/// **Source:** arch/arm/tools/syscall.tbl.
#[cfg(target_arch = "arm")]
const HERE: &[c_long] = &[
    libc::SYS_epoll_wait,
    libc::SYS_poll,
    libc::SYS_open,
    libc::SYS_stat64,
    libc::SYS_lstat64,
    libc::SYS_fstat64,
    libc::SYS_fstatat64,
    libc::SYS_access,
    libc::SYS_readlink,
    libc::SYS_rename,
    libc::SYS_unlink,
    libc::SYS_rmdir,
    libc::SYS_mkdir,
    libc::SYS__llseek,
    libc::SYS_ftruncate64,
    libc::SYS_getuid32,
    libc::SYS_geteuid32,
    libc::SYS_getgid32,
    libc::SYS_getegid32,
    libc::SYS_sigreturn,
    // rseq, clock_gettime64, clock_getres_time64, clock_nanosleep_time64.
    398,
    403,
    406,
    407,
    // timerfd_gettime64, timerfd_settime64, utimensat_time64, ppoll_time64, futex_time64.
    410,
    411,
    412,
    414,
    422,
];

/// The calls that end the process.
pub(super) const KILLED: &[&[c_long]] = &[PROCESSES, OTHERS, KERNEL, FILE_SYSTEMS, IDENTITIES, KILLED_HERE];

/// Starting a program or a process.
const PROCESSES: &[c_long] = &[libc::SYS_execve, libc::SYS_execveat];

/// Reaching into other processes.
const OTHERS: &[c_long] = &[
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_kcmp,
    libc::SYS_pidfd_getfd,
    libc::SYS_setns,
    libc::SYS_unshare,
];

/// Parts of the kernel with a history of holes, and its own settings.
const KERNEL: &[c_long] = &[
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_memfd_secret,
    libc::SYS_personality,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
];

/// Changing what is where, and files without their names.
const FILE_SYSTEMS: &[c_long] = &[
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_move_mount,
    libc::SYS_mount_setattr,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_open_by_handle_at,
];

/// Becoming somebody else.
const IDENTITIES: &[c_long] = &[
    libc::SYS_setuid,
    libc::SYS_setgid,
    libc::SYS_setreuid,
    libc::SYS_setregid,
    libc::SYS_setresuid,
    libc::SYS_setresgid,
    libc::SYS_setfsuid,
    libc::SYS_setfsgid,
    libc::SYS_setgroups,
    libc::SYS_capset,
];

/// What else of these there is on this machine.
#[cfg(target_arch = "x86_64")]
const KILLED_HERE: &[c_long] =
    &[libc::SYS_fork, libc::SYS_vfork, libc::SYS_kexec_file_load, libc::SYS_iopl, libc::SYS_ioperm];

/// What else of these there is on this machine: kexec_file_load.
///
/// **Source:** asm-generic/unistd.h.
#[cfg(target_arch = "aarch64")]
const KILLED_HERE: &[c_long] = &[294];

/// What else of these there is on this machine; the last is kexec_file_load.
///
/// **Source:** arch/arm/tools/syscall.tbl.
#[cfg(target_arch = "arm")]
const KILLED_HERE: &[c_long] = &[
    libc::SYS_fork,
    libc::SYS_vfork,
    libc::SYS_setuid32,
    libc::SYS_setgid32,
    libc::SYS_setreuid32,
    libc::SYS_setregid32,
    libc::SYS_setresuid32,
    libc::SYS_setresgid32,
    libc::SYS_setfsuid32,
    libc::SYS_setfsgid32,
    libc::SYS_setgroups32,
    401,
];
