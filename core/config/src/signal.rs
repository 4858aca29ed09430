//! Names of signals. The numbers are those of signal(7) for x86, arm and riscv, which agree; hilum is built for no
//! other.

use hilum_engine::Signal;

use crate::diagnose::{Mistake, quote};

/// The names of signals 1 to 31.
const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM", "TERM",
    "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO",
    "PWR", "SYS",
];

/// Other names for the same signals.
const ALIASES: [(&str, u8); 4] = [("IOT", 6), ("CLD", 17), ("POLL", 29), ("UNUSED", 31)];

/// What `RTMIN` means: the first real-time signal glibc leaves to programs, as shells, systemd and container engines
/// count. The kernel's own is 32; musl's is 35.
const RTMIN: u8 = 34;

/// The last real-time signal.
const RTMAX: u8 = 64;

/// The signal `text` names: `TERM`, `SIGTERM`, `sigterm`, `15`, `RTMIN+3`, `RTMAX-1`.
///
/// **Errors:** a [`Mistake`] that shows what was found and how to write it.
pub fn parse_signal(text: &str) -> Result<Signal, Mistake> {
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    named(name).or_else(|| numbered(&upper)).map(Signal).ok_or_else(|| {
        Mistake::new(
            format!("{} is not a signal", quote(text)),
            "write a name as \"TERM\" or \"RTMIN+1\", or a number from 1 to 64",
        )
    })
}

/// The name of `signal` without `SIG`: `TERM`, `RTMIN+3`; its number if it has no name.
#[must_use]
pub fn signal_name(signal: Signal) -> String {
    let index = usize::from(signal.0).checked_sub(1);
    match (index.and_then(|index| NAMES.get(index)), signal.0) {
        (Some(name), _) => String::from(*name),
        (None, RTMIN) => String::from("RTMIN"),
        (None, RTMAX) => String::from("RTMAX"),
        (None, number @ RTMIN..RTMAX) => format!("RTMIN+{}", number - RTMIN),
        (None, number) => number.to_string(),
    }
}

fn named(name: &str) -> Option<u8> {
    if let Some(position) = NAMES.iter().position(|known| *known == name) {
        return u8::try_from(position + 1).ok();
    }
    if let Some((_, number)) = ALIASES.iter().find(|(alias, _)| *alias == name) {
        return Some(*number);
    }
    let number = if let Some(above) = name.strip_prefix("RTMIN") {
        RTMIN.checked_add(offset(above, "+")?)?
    } else {
        RTMAX.checked_sub(offset(name.strip_prefix("RTMAX")?, "-")?)?
    };
    (RTMIN..=RTMAX).contains(&number).then_some(number)
}

/// The number in `+3`; zero for nothing at all.
fn offset(text: &str, sign: &str) -> Option<u8> {
    if text.is_empty() { Some(0) } else { digits(text.strip_prefix(sign)?) }
}

fn numbered(text: &str) -> Option<u8> {
    digits(text).filter(|number| (1..=RTMAX).contains(number))
}

/// A number of digits only: `u8::from_str` alone would take a plus sign.
fn digits(text: &str) -> Option<u8> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::{parse_signal, signal_name};
    use hilum_engine::Signal;

    #[test]
    fn names_and_numbers_are_read() {
        for (text, number) in [
            ("TERM", 15),
            ("SIGTERM", 15),
            ("sigterm", 15),
            ("15", 15),
            ("64", 64),
            ("IOT", 6),
            ("POLL", 29),
            ("RTMIN", 34),
            ("SIGRTMIN+3", 37),
            ("RTMIN+30", 64),
            ("RTMAX-1", 63),
            ("RTMAX", 64),
        ] {
            assert_eq!(parse_signal(text), Ok(Signal(number)), "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "",
            "0",
            "65",
            "256",
            "+15",
            "-1",
            "SIG",
            "SIG15",
            "TERMS",
            "RTMIN+31",
            "RTMIN-1",
            "RTMAX+1",
            "RTMIN+",
            "RTMIN++1",
            "RTMAX-31",
            "RTMAX-255",
        ] {
            assert!(parse_signal(text).is_err(), "{text}");
        }
    }

    #[test]
    fn every_name_reads_back() {
        for number in 1..=64 {
            assert_eq!(parse_signal(&signal_name(Signal(number))), Ok(Signal(number)));
        }
        assert_eq!(signal_name(Signal(0)), "0");
        assert_eq!(signal_name(Signal(37)), "RTMIN+3");
    }
}
