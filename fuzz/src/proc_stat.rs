//! `/proc/PID/stat`, whose second field is whatever a process calls itself.

use hilum_sys::procfs::parse_stat;

/// Parses `input`; what is found was there.
pub fn proc_stat(input: &[u8]) {
    let Some(stat) = parse_stat(input) else { return };
    assert!(stat.comm.len() <= input.len());
    assert!(stat.comm.is_empty() || input.windows(stat.comm.len()).any(|window| window == stat.comm));
    // A name with parentheses and spaces of its own must not move the fields behind it: write it again with a tame one.
    let mut tame = format!("{} (x)", stat.pid).into_bytes();
    let after = input.iter().rposition(|byte| *byte == b')').and_then(|at| input.get(at + 1..));
    tame.extend_from_slice(after.unwrap_or_default());
    let again = parse_stat(&tame).map(|tame| (tame.state, tame.parent, tame.group, tame.session, tame.start_ticks));
    assert_eq!(again, Some((stat.state, stat.parent, stat.group, stat.session, stat.start_ticks)));
}
