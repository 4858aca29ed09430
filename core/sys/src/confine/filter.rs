//! The filter of system calls: a classic BPF program made from the tables in `calls.rs`, and its installation.
//!
//! The program is as plain as can be, so that it can be read: one comparison after the other, each followed by its answer. Nothing is sorted
//! or shared; where a call's answer does not depend on its arguments, the kernel asks the program once and remembers it.
//!
//! **Source:** seccomp(2), linux/bpf_common.h.

use std::io;

use libc::{c_long, sock_filter};

use super::calls::{ALLOWED, Answer, JUDGED, Judged, KILLED};
use crate::signal::outcome;

/// Loads 32 bits of `seccomp_data` (`BPF_LD | BPF_W | BPF_ABS`).
const LOAD: u16 = 0x20;
/// Clears all bits outside of a mask (`BPF_ALU | BPF_AND | BPF_K`).
const AND: u16 = 0x54;
/// Jumps if equal to a constant (`BPF_JMP | BPF_JEQ | BPF_K`).
const EQUAL: u16 = 0x15;
/// Jumps if it has a bit of a constant (`BPF_JMP | BPF_JSET | BPF_K`).
const ANY_BIT: u16 = 0x45;
/// Ends the program with an answer (`BPF_RET | BPF_K`).
const RETURN: u16 = 0x06;

/// Where `seccomp_data` has the number of the call, the calling convention and the arguments. **Units:** bytes.
const NUMBER: u32 = 0;
const CONVENTION: u32 = 4;
const ARGUMENTS: u32 = 16;

/// This machine's own calling convention; the others (32-bit calls of a 64-bit machine) have other numbers for their calls.
///
/// **Source:** linux/audit.h.
#[cfg(target_arch = "x86_64")]
const OWN_CONVENTION: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const OWN_CONVENTION: u32 = 0xc000_00b7;
#[cfg(target_arch = "arm")]
const OWN_CONVENTION: u32 = 0x4000_0028;

/// On x86-64, calls with this bit are those of x32, under the same convention.
const X32: u32 = 0x4000_0000;

/// Puts the filter on all threads of this process and on all that they start.
///
/// **Order:** after no_new_privs.
///
/// **Errors:** of seccomp(2), and which thread could not take it; then none has it.
pub(super) fn install() -> io::Result<()> {
    let mut program = program();
    let length = program.len().try_into().map_err(|_| io::ErrorKind::InvalidInput)?;
    let program = libc::sock_fprog { len: length, filter: program.as_mut_ptr() };
    let (operation, flags) = (libc::SECCOMP_SET_MODE_FILTER, libc::SECCOMP_FILTER_FLAG_TSYNC);
    // SAFETY: seccomp(2) copies the `len` instructions at `filter`, which are all those of the vector above, before it returns.
    let set = outcome(unsafe { libc::syscall(libc::SYS_seccomp, operation, flags, &raw const program) })?;
    if set == 0 { Ok(()) } else { Err(io::Error::other(format!("thread {set} has a filter of its own"))) }
}

/// The program.
fn program() -> Vec<sock_filter> {
    let kill = end(Answer::Kill);
    let mut program = vec![load(CONVENTION), jump(EQUAL, OWN_CONVENTION, 1, 0), kill, load(NUMBER)];
    if cfg!(target_arch = "x86_64") {
        program.extend([jump(ANY_BIT, X32, 0, 1), kill]);
    }
    for number in ALLOWED.iter().copied().flatten() {
        program.extend(only_for(*number, vec![end(Answer::Allow)]));
    }
    for judged in JUDGED {
        program.extend(only_for(judged.number, judge(judged)));
    }
    for number in KILLED.iter().copied().flatten() {
        program.extend(only_for(*number, vec![kill]));
    }
    program.push(end(Answer::Refuse(libc::EPERM)));
    program
}

/// `block`, which ends with an answer, for one call; all others go on after it.
fn only_for(number: c_long, block: Vec<sock_filter>) -> impl Iterator<Item = sock_filter> {
    // No call has the number -1; none of the tables' fails to be one.
    let number = u32::try_from(number).unwrap_or(u32::MAX);
    std::iter::once(jump(EQUAL, number, 0, steps(block.len()))).chain(block)
}

/// The block for a call that is judged by its arguments. It overwrites the number of the call, and so must end.
fn judge(judged: &Judged) -> Vec<sock_filter> {
    let mut block = Vec::new();
    for test in judged.tests {
        block.extend([
            load(ARGUMENTS + 4 * u32::from(test.half)),
            sock_filter { code: AND, jt: 0, jf: 0, k: test.mask },
        ]);
        let left = (0..test.among.len()).rev();
        block.extend(test.among.iter().zip(left).map(|(value, left)| jump(EQUAL, *value, steps(left + 1), 0)));
        block.push(end(judged.otherwise));
    }
    block.push(end(judged.met));
    block
}

fn load(offset: u32) -> sock_filter {
    sock_filter { code: LOAD, jt: 0, jf: 0, k: offset }
}

fn jump(code: u16, k: u32, jt: u8, jf: u8) -> sock_filter {
    sock_filter { code, jt, jf, k }
}

/// A jump over `count` instructions. Blocks are a dozen long; one that is too long fails the test that runs every call through the program.
fn steps(count: usize) -> u8 {
    count.try_into().unwrap_or(u8::MAX)
}

fn end(answer: Answer) -> sock_filter {
    let k = match answer {
        Answer::Allow => libc::SECCOMP_RET_ALLOW,
        Answer::Refuse(error) => libc::SECCOMP_RET_ERRNO | error.cast_unsigned(),
        Answer::Kill => libc::SECCOMP_RET_KILL_PROCESS,
    };
    sock_filter { code: RETURN, jt: 0, jf: 0, k }
}

#[cfg(test)]
mod tests {
    use super::super::calls::{ALLOWED, Answer, JUDGED, KILLED};
    use super::{AND, ANY_BIT, EQUAL, LOAD, OWN_CONVENTION, RETURN, X32, program};
    use libc::c_long;
    use std::collections::BTreeSet;

    /// No table has a number as high, on any machine.
    const NUMBERS: u32 = 1024;

    /// What the kernel would do with `program`: the second opinion on what it means. `None` for a program it would not take.
    fn answer(convention: u32, number: u32, arguments: [u64; 6]) -> Option<Answer> {
        let mut words = vec![number, convention, 0, 0];
        for argument in arguments {
            words.push(u32::try_from(argument & u64::from(u32::MAX)).ok()?);
            words.push(u32::try_from(argument >> 32).ok()?);
        }
        let program = program();
        let mut accumulator = 0;
        let mut next = 0;
        loop {
            let step = program.get(next)?;
            next += 1;
            let jump = |taken: bool| usize::from(if taken { step.jt } else { step.jf });
            match step.code {
                LOAD if step.k.is_multiple_of(4) => accumulator = *words.get(usize::try_from(step.k / 4).ok()?)?,
                AND => accumulator &= step.k,
                EQUAL => next += jump(accumulator == step.k),
                ANY_BIT => next += jump(accumulator & step.k != 0),
                RETURN => {
                    let error = i32::try_from(step.k & libc::SECCOMP_RET_DATA).ok()?;
                    return match step.k & libc::SECCOMP_RET_ACTION_FULL {
                        libc::SECCOMP_RET_ALLOW => Some(Answer::Allow),
                        libc::SECCOMP_RET_KILL_PROCESS => Some(Answer::Kill),
                        libc::SECCOMP_RET_ERRNO => Some(Answer::Refuse(error)),
                        _ => None,
                    };
                }
                _ => return None,
            }
        }
    }

    fn asked(number: c_long, arguments: &[u64]) -> Option<Answer> {
        let mut all = [0; 6];
        all.iter_mut().zip(arguments).for_each(|(place, argument)| *place = *argument);
        answer(OWN_CONVENTION, u32::try_from(number).ok()?, all)
    }

    fn bits(flags: i32) -> u64 {
        flags.cast_unsigned().into()
    }

    const ALLOW: Option<Answer> = Some(Answer::Allow);
    const DENY: Option<Answer> = Some(Answer::Refuse(libc::EPERM));
    const KILL: Option<Answer> = Some(Answer::Kill);

    #[test]
    fn every_number_gets_the_answer_of_its_table_and_all_others_are_refused() {
        let numbers = |tables: &[&[c_long]]| -> Vec<u32> {
            tables.iter().copied().flatten().filter_map(|number| u32::try_from(*number).ok()).collect()
        };
        let (allowed, killed) = (numbers(ALLOWED), numbers(KILLED));
        let judged: Vec<u32> = JUDGED.iter().filter_map(|judged| u32::try_from(judged.number).ok()).collect();
        let all: Vec<u32> = allowed.iter().chain(&killed).chain(&judged).copied().collect();
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len(), "a call is in two tables");
        assert!(all.iter().all(|number| *number < NUMBERS), "{all:?}");
        for number in 0..NUMBERS {
            let found = answer(OWN_CONVENTION, number, [0; 6]);
            match number {
                _ if allowed.contains(&number) => assert_eq!(found, ALLOW, "{number}"),
                _ if killed.contains(&number) => assert_eq!(found, KILL, "{number}"),
                _ if judged.contains(&number) => assert!(found.is_some(), "{number}"),
                _ => assert_eq!(found, DENY, "{number}"),
            }
        }
    }

    #[test]
    fn calls_of_another_machine_end_the_process_even_allowed_ones() {
        // x86-64, i386, arm64, arm, and nobody's.
        for convention in [0xc000_003e, 0x4000_0003, 0xc000_00b7, 0x4000_0028, 0, u32::MAX] {
            for number in 0..NUMBERS {
                let killed = answer(convention, number, [0; 6]) == KILL;
                assert!(killed || convention == OWN_CONVENTION, "{convention:x} {number}");
            }
        }
        if cfg!(target_arch = "x86_64") {
            assert!((0..NUMBERS).all(|number| answer(OWN_CONVENTION, X32 | number, [0; 6]) == KILL));
        }
    }

    #[test]
    fn no_memory_becomes_executable() {
        let (read, write, execute) = (bits(libc::PROT_READ), bits(libc::PROT_WRITE), bits(libc::PROT_EXEC));
        for number in [super::super::calls::MMAP, libc::SYS_mprotect, libc::SYS_pkey_mprotect] {
            for protection in [0, read, read | write, !execute] {
                assert_eq!(asked(number, &[0, 4096, protection]), ALLOW, "{number} {protection:x}");
                assert_eq!(asked(number, &[0, 4096, protection | execute]), DENY, "{number} {protection:x}");
            }
        }
    }

    #[test]
    fn sockets_are_those_of_the_internet_and_of_unix() {
        let (stream, datagram, raw) = (bits(libc::SOCK_STREAM), bits(libc::SOCK_DGRAM), bits(libc::SOCK_RAW));
        let flags = bits(libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK);
        let socket =
            |family: i32, kind: u64, protocol: i32| asked(libc::SYS_socket, &[bits(family), kind, bits(protocol)]);
        for family in [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6] {
            assert_eq!(socket(family, stream, 0), ALLOW);
            assert_eq!(socket(family, datagram | flags, libc::IPPROTO_UDP), ALLOW);
            assert_eq!(socket(family, stream | flags, libc::IPPROTO_TCP), ALLOW);
            assert_eq!(socket(family, raw, 0), DENY);
            assert_eq!(socket(family, raw | flags, libc::IPPROTO_TCP), DENY);
            assert_eq!(socket(family, stream, libc::IPPROTO_MPTCP), DENY);
            assert_eq!(socket(family, stream, libc::IPPROTO_SCTP), DENY);
            assert_eq!(socket(family, datagram, libc::IPPROTO_ICMP), DENY);
        }
        for family in [libc::AF_UNSPEC, libc::AF_NETLINK, libc::AF_PACKET, libc::AF_VSOCK, libc::AF_ALG, -1] {
            assert_eq!(socket(family, stream, 0), DENY, "{family}");
            assert_eq!(socket(family, datagram, 0), DENY, "{family}");
        }
    }

    #[test]
    fn sending_does_not_connect() {
        let (quiet, connecting) = (bits(libc::MSG_NOSIGNAL), bits(libc::MSG_FASTOPEN | libc::MSG_NOSIGNAL));
        assert_eq!(asked(libc::SYS_sendto, &[3, 0, 0, quiet]), ALLOW);
        assert_eq!(asked(libc::SYS_sendto, &[3, 0, 0, connecting]), DENY);
        assert_eq!(asked(libc::SYS_sendmsg, &[3, 0, quiet]), ALLOW);
        assert_eq!(asked(libc::SYS_sendmsg, &[3, 0, connecting]), DENY);
        assert_eq!(asked(libc::SYS_sendmmsg, &[3, 0, 1, quiet]), ALLOW);
        assert_eq!(asked(libc::SYS_sendmmsg, &[3, 0, 1, connecting]), DENY);
    }

    #[test]
    fn threads_start_and_processes_do_not() {
        let thread = libc::CLONE_VM | libc::CLONE_FS | libc::CLONE_SIGHAND | libc::CLONE_THREAD | libc::CLONE_SETTLS;
        assert_eq!(asked(libc::SYS_clone, &[bits(thread)]), ALLOW);
        for flags in [0, libc::SIGCHLD, libc::CLONE_VM | libc::CLONE_VFORK, thread | libc::CLONE_NEWUSER] {
            assert_eq!(asked(libc::SYS_clone, &[bits(flags)]), KILL, "{flags:x}");
        }
        assert_eq!(asked(libc::SYS_clone3, &[0, 88]), Some(Answer::Refuse(libc::ENOSYS)));
        assert_eq!(asked(libc::SYS_execve, &[]), KILL);
        assert_eq!(asked(libc::SYS_execveat, &[]), KILL);
    }

    #[test]
    fn limits_are_read_and_not_set() {
        assert_eq!(asked(libc::SYS_prlimit64, &[0, 7, 0, 0x7fff_0000_1000]), ALLOW);
        assert_eq!(asked(libc::SYS_prlimit64, &[0, 7, 0x1000]), DENY);
        assert_eq!(asked(libc::SYS_prlimit64, &[0, 7, 1 << 32]), DENY);
    }

    #[test]
    fn the_only_signal_is_an_abort() {
        assert_eq!(asked(libc::SYS_tkill, &[77, bits(libc::SIGABRT)]), ALLOW);
        assert_eq!(asked(libc::SYS_tgkill, &[77, 77, bits(libc::SIGABRT)]), ALLOW);
        for signal in [0, libc::SIGKILL, libc::SIGTERM] {
            assert_eq!(asked(libc::SYS_tkill, &[77, bits(signal)]), DENY);
            assert_eq!(asked(libc::SYS_tgkill, &[77, 77, bits(signal)]), DENY);
            assert_eq!(asked(libc::SYS_kill, &[77, bits(signal)]), DENY);
        }
    }

    #[test]
    fn descriptors_are_controlled_in_few_ways() {
        for (control, expected) in [(0x5421, ALLOW), (0x541b, ALLOW), (0x5413, ALLOW), (0x5412, DENY), (0, DENY)] {
            assert_eq!(asked(libc::SYS_ioctl, &[0, control]), expected, "{control:x}");
        }
        for (command, expected) in [
            (libc::F_GETFL, ALLOW),
            (libc::F_DUPFD_CLOEXEC, ALLOW),
            (libc::F_ADD_SEALS, ALLOW),
            (libc::F_SETOWN, DENY),
            (15, DENY),
        ] {
            assert_eq!(asked(libc::SYS_fcntl, &[0, bits(command)]), expected, "{command}");
        }
        for (option, expected) in [(libc::PR_SET_NAME, ALLOW), (libc::PR_SET_VMA, ALLOW), (libc::PR_SET_MM, DENY)] {
            assert_eq!(asked(libc::SYS_prctl, &[bits(option)]), expected, "{option}");
        }
    }
}
