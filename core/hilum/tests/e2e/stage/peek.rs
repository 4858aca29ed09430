//! Looks at processes from outside, through `/proc`.

use std::collections::BTreeMap;
use std::fs;

use super::failure::{Context as _, Failure, fail};

/// What `/proc/PID/stat` says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Stat {
    pub(crate) pid: i32,
    pub(crate) name: String,
    pub(crate) state: char,
    pub(crate) parent: i32,
    pub(crate) group: i32,
    pub(crate) session: i32,
    pub(crate) foreground: i32,
}

/// One process; `None` when it is gone.
pub(crate) fn stat(pid: i32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (head, tail) = text.rsplit_once(") ")?;
    let name = head.split_once('(')?.1.to_owned();
    let words: Vec<&str> = tail.split(' ').collect();
    let number = |at: usize| words.get(at).and_then(|word| word.parse::<i32>().ok());
    Some(Stat {
        pid,
        name,
        state: words.first()?.chars().next()?,
        parent: number(1)?,
        group: number(2)?,
        session: number(3)?,
        foreground: number(5)?,
    })
}

/// The children of a process, zombies included.
pub(crate) fn children(pid: i32) -> Vec<i32> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_whitespace().filter_map(|word| word.parse().ok()).collect()
}

/// A process and all below it.
pub(crate) fn descendants(pid: i32) -> Vec<Stat> {
    let mut all = Vec::new();
    let mut rest = vec![pid];
    while let Some(next) = rest.pop() {
        all.extend(stat(next));
        rest.extend(children(next));
    }
    all
}

/// How many children of a process have ended and are not reaped, all in one moment: those that were found so one after the other, and still
/// are when the last one has been found.
pub(crate) fn zombies(pid: i32) -> usize {
    let is_zombie = |pid: &i32| stat(*pid).is_some_and(|stat| stat.state == 'Z');
    let found: Vec<i32> = children(pid).into_iter().filter(is_zombie).collect();
    found.iter().filter(|pid| is_zombie(pid)).count()
}

/// A process and all below it, as a picture.
pub(crate) fn tree(pid: i32) -> String {
    let mut text = String::new();
    draw(pid, 0, &mut text);
    text
}

fn draw(pid: i32, depth: usize, text: &mut String) {
    let Some(stat) = stat(pid) else { return };
    let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let command = String::from_utf8_lossy(&command).replace('\0', " ");
    let wait = fs::read_to_string(format!("/proc/{pid}/wchan")).unwrap_or_default();
    text.push_str(&format!(
        "{:indent$}{pid} {} group {} session {} {} [{wait}] {command}\n",
        "",
        stat.state,
        stat.group,
        stat.session,
        stat.name,
        indent = depth * 2
    ));
    for child in children(pid).into_iter().take(12) {
        draw(child, depth + 1, text);
    }
}

/// The `KEY: value` lines of `/proc/PID/status`.
pub(crate) fn status(pid: i32) -> Result<BTreeMap<String, String>, Failure> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).context(format!("process {pid} is gone"))?;
    Ok(pairs(&text))
}

/// `KEY: value` lines.
pub(crate) fn pairs(text: &str) -> BTreeMap<String, String> {
    let pairs = text.lines().filter_map(|line| line.split_once(':'));
    pairs.map(|(key, value)| (key.to_owned(), value.trim().to_owned())).collect()
}

/// Memory of a process that is no file's: what of those is counted depends on who else has them mapped. **Units:** kB.
pub(crate) fn memory(pid: i32) -> Result<u64, Failure> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).context(format!("process {pid} is gone"))?;
    let own = pairs(&rollup)
        .get("Anonymous")
        .and_then(|value| value.split(' ').next().and_then(|number| number.parse().ok()));
    own.map_or_else(|| fail(format!("/proc/{pid}/smaps_rollup has no Anonymous")), Ok)
}
