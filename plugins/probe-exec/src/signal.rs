//! Names of signals, for people. Only of those that usually end a command, by the numbers they have on x86-64 and Arm.

/// `signal 9 (KILL)`, or the number alone. **Source:** signal(7).
pub(crate) fn name(number: u8) -> String {
    let name = match number {
        1 => "HUP",
        2 => "INT",
        3 => "QUIT",
        4 => "ILL",
        6 => "ABRT",
        7 => "BUS",
        8 => "FPE",
        9 => "KILL",
        11 => "SEGV",
        13 => "PIPE",
        14 => "ALRM",
        15 => "TERM",
        24 => "XCPU",
        25 => "XFSZ",
        31 => "SYS",
        _ => return format!("signal {number}"),
    };
    format!("signal {number} ({name})")
}
