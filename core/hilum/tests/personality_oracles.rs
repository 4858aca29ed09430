//! hilum under the names of tini, dumb-init and catatonit, beside the tools themselves: same exit code, same messages, for every way of
//! writing a command line that has ever mattered.
//!
//! What matters only to process 1 is for the end-to-end tests. The tools must be there: `apt-get install tini dumb-init catatonit`.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a failed test is what a panic here is for")]

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// How closely the two must agree.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Agree {
    /// Exit code, messages as far as scripts read them, and which streams were used.
    Fully,
    /// Exit code: what is said is a licence, or a log of what happens, or the C library's words.
    InCode,
}
use Agree::{Fully, InCode};

/// One command line. Words are separated by `|`; those of the form `NAME=VALUE` before the first `$` go to the environment.
struct Case(Agree, &'static str);

const TINI: &[Case] = &[
    // Nothing, help, version, licence.
    Case(Fully, ""),
    Case(Fully, "--"),
    Case(Fully, "-s"),
    Case(Fully, "-h"),
    Case(Fully, "-h|-x"),
    Case(Fully, "-x|-h"),
    Case(Fully, "-hx"),
    Case(Fully, "-xh"),
    Case(Fully, "true|-h"),
    Case(Fully, "--version"),
    Case(Fully, "--version|true"),
    Case(Fully, "-s|--version"),
    Case(Fully, "--help"),
    Case(InCode, "-l"),
    Case(InCode, "-l|-x"),
    Case(InCode, "-lh"),
    // Unknown options and missing values.
    Case(Fully, "-x|true"),
    Case(Fully, "-gsx|true"),
    Case(Fully, "-p"),
    Case(Fully, "-e"),
    Case(Fully, "-sp"),
    Case(Fully, "true|-x"),
    Case(Fully, "sh|-c|exit 3"),
    Case(Fully, "-s|sh|-c|exit 3"),
    // Where the program begins.
    Case(Fully, "true"),
    Case(Fully, "-s|true"),
    Case(Fully, "true|-s"),
    Case(Fully, "-s|--|true"),
    Case(Fully, "-s|--|sh|-c|exit 3"),
    Case(Fully, "-s|sh|--|-c|exit 4"),
    Case(Fully, "-s|--|sh|--|-c|exit 4"),
    Case(Fully, "POSIXLY_CORRECT=1|$|-s|sh|-c|exit 5"),
    Case(Fully, "POSIXLY_CORRECT=|$|-s|sh|-c|exit 5"),
    Case(Fully, "-"),
    Case(Fully, "-|true"),
    Case(Fully, "-s|--|--"),
    Case(Fully, "-s|"),
    // Values.
    Case(Fully, "-s|-p|SIGKILL|true"),
    Case(Fully, "-s|-pSIGTERM|true"),
    Case(Fully, "-sp|SIGTERM|true"),
    Case(Fully, "-s|-p|KILL|true"),
    Case(Fully, "-s|-p|sigkill|true"),
    Case(Fully, "-s|-p|9|true"),
    Case(Fully, "-s|-p|SIG9|true"),
    Case(Fully, "-s|-p||true"),
    Case(Fully, "-s|-p|SIG|true"),
    Case(Fully, "-s|-p|SIGTTIN|true"),
    Case(Fully, "-s|-p|SIGIOT|true"),
    Case(Fully, "-s|-p|SIGPWR|true"),
    Case(Fully, "-s|-p|SIGIO|true"),
    Case(Fully, "-s|-p|SIGSTKFLT|true"),
    Case(Fully, "-s|-p|SIGRTMIN|true"),
    Case(Fully, "-s|-e|3|--|sh|-c|exit 3"),
    Case(Fully, "-s|-e3|--|sh|-c|exit 3"),
    Case(Fully, "-se3|--|sh|-c|exit 3"),
    Case(Fully, "-s|-e|3|-e|4|--|sh|-c|exit 4"),
    Case(Fully, "-s|-e|3|--|sh|-c|exit 5"),
    Case(Fully, "-s|-e|143|--|sh|-c|kill $$"),
    Case(Fully, "-s|-e|0|true"),
    Case(Fully, "-s|-e|255|--|sh|-c|exit 255"),
    Case(Fully, "-s|-e|256|true"),
    Case(Fully, "-s|-e|-1|true"),
    Case(Fully, "-s|-e|abc|true"),
    Case(Fully, "-s|-e|3x|true"),
    Case(Fully, "-s|-e|0x10|true"),
    Case(Fully, "-s|-e||true"),
    Case(Fully, "-s|-e| |true"),
    Case(Fully, "-s|-e| 4|true"),
    Case(Fully, "-s|-e|4 |true"),
    Case(Fully, "-s|-e|+4|true"),
    Case(Fully, "-s|-e|-0|true"),
    Case(Fully, "-s|-e|99999999999999999999|true"),
    Case(Fully, "-s|-e|--|true"),
    Case(Fully, "-s|-e|256|-h"),
    Case(Fully, "-h|-e|256"),
    // Bundles and repetition.
    Case(Fully, "-sgw|true"),
    Case(Fully, "-ss|true"),
    Case(InCode, "-svvv|true"),
    Case(InCode, "-sv|-v|-v|-v|true"),
    // The environment.
    Case(Fully, "TINI_SUBREAPER=|$|true"),
    Case(Fully, "TINI_SUBREAPER=0|$|true"),
    Case(Fully, "TINI_SUBREAPER=1|$|true"),
    Case(Fully, "TINI_KILL_PROCESS_GROUP=1|$|-s|true"),
    Case(Fully, "TINI_VERBOSITY=0|$|true"),
    Case(Fully, "TINI_VERBOSITY=0|$|-vv|true"),
    Case(Fully, "TINI_VERBOSITY=x|$|-vv|true"),
    Case(Fully, "TINI_VERBOSITY=|$|true"),
    Case(Fully, "TINI_VERBOSITY= 1|$|true"),
    Case(Fully, "TINI_VERBOSITY=1x|$|-vv|true"),
    Case(Fully, "TINI_VERBOSITY=0|$|no-such-program"),
    // Ends.
    Case(Fully, "-s|--|sh|-c|exit 0"),
    Case(Fully, "-s|--|sh|-c|exit 255"),
    Case(Fully, "-s|--|sh|-c|kill -KILL $$"),
    Case(Fully, "-s|--|sh|-c|kill -RTMAX $$"),
    Case(Fully, "-s|no-such-program"),
    Case(Fully, "no-such-program"),
    Case(Fully, "-s|./no-such-program"),
    Case(Fully, "-s|./not-executable"),
    Case(Fully, "-s|./folder"),
    Case(Fully, "-s|./no-interpreter"),
    Case(Fully, "-s|./no-first-line"),
    Case(Fully, "-s|./not-executable/below"),
    Case(InCode, "-s|./loop"),
];

const DUMB_INIT: &[Case] = &[
    Case(Fully, ""),
    Case(Fully, "--"),
    Case(Fully, "-h"),
    Case(Fully, "--help"),
    Case(Fully, "--he"),
    Case(Fully, "--help=3"),
    Case(Fully, "-h|-x"),
    Case(Fully, "-x|-h"),
    Case(Fully, "-hx"),
    Case(Fully, "-V"),
    Case(Fully, "--version"),
    Case(Fully, "-V|true"),
    Case(Fully, "-vVx|true"),
    Case(Fully, "--ver"),
    Case(Fully, "--v"),
    Case(Fully, "--="),
    Case(Fully, "--=x|true"),
    Case(Fully, "---help|true"),
    Case(Fully, "-x|true"),
    Case(Fully, "--foo|true"),
    Case(Fully, "--foo=bar|true"),
    Case(Fully, "-r"),
    Case(Fully, "--rewrite"),
    Case(Fully, "--rewrite=|true"),
    // Where the program begins.
    Case(Fully, "true"),
    Case(Fully, "true|-x"),
    Case(Fully, "--|true"),
    Case(Fully, "-|-"),
    Case(Fully, "--|--"),
    Case(Fully, ""),
    Case(Fully, "sh|-c|exit 7"),
    Case(Fully, "--|sh|-c|exit 7"),
    Case(Fully, "sh|--|-c|exit 7"),
    // Options.
    Case(Fully, "-c|true"),
    Case(Fully, "--single-child|true"),
    Case(Fully, "--s|true"),
    Case(Fully, "--single-child=3|true"),
    Case(InCode, "-v|true"),
    Case(InCode, "-cv|true"),
    Case(InCode, "--verb|true"),
    // Rewriting.
    Case(Fully, "-r|15:3|true"),
    Case(Fully, "-r15:3|true"),
    Case(Fully, "--rewrite|15:3|true"),
    Case(Fully, "--rewrite=15:3|true"),
    Case(Fully, "--r|15:0|true"),
    Case(Fully, "-r|15:3|-r|1:0|-r|15:1|true"),
    Case(Fully, "-r|15|true"),
    Case(Fully, "-r|15:|true"),
    Case(Fully, "-r|:3|true"),
    Case(Fully, "-r||true"),
    Case(Fully, "-r|0:1|true"),
    Case(Fully, "-r|32:1|true"),
    Case(Fully, "-r|31:31|true"),
    Case(Fully, "-r|31:32|true"),
    Case(Fully, "-r|15:64|true"),
    Case(Fully, "-r|15:-1|true"),
    Case(Fully, "-r|15:-0|true"),
    Case(Fully, "-r|-15:3|true"),
    Case(Fully, "-r|a:b|true"),
    Case(Fully, "-r|TERM:QUIT|true"),
    Case(Fully, "-r|15:3x|true"),
    Case(Fully, "-r|15:3:4|true"),
    Case(Fully, "-r| 15:3|true"),
    Case(Fully, "-r|15: 3|true"),
    Case(Fully, "-r|15 :3|true"),
    Case(Fully, "-r|+15:+3|true"),
    Case(Fully, "-r|0x5:3|true"),
    Case(Fully, "-r|15:010|true"),
    Case(Fully, "-r|9:1|true"),
    Case(Fully, "-r|17:1|true"),
    Case(Fully, "-r|99999999999:1|true"),
    Case(Fully, "-r|15:3|-r|true"),
    Case(Fully, "-h|-r|x"),
    Case(Fully, "-r|x|-h"),
    // The environment.
    Case(InCode, "DUMB_INIT_DEBUG=1|$|true"),
    Case(Fully, "DUMB_INIT_DEBUG=0|$|true"),
    Case(Fully, "DUMB_INIT_DEBUG=|$|true"),
    Case(Fully, "DUMB_INIT_DEBUG=true|$|true"),
    Case(Fully, "DUMB_INIT_DEBUG=01|$|true"),
    Case(Fully, "DUMB_INIT_SETSID=0|$|true"),
    Case(Fully, "DUMB_INIT_SETSID=x|$|true"),
    Case(Fully, "POSIXLY_CORRECT=1|$|sh|-c|exit 5"),
    // Sessions and groups: the child says whether it leads its own.
    Case(Fully, "sh|-c|set -- $(cat /proc/$$/stat) && test $5 = $$ && test $6 = $$"),
    Case(Fully, "-c|sh|-c|set -- $(cat /proc/$$/stat) && test $5 = $$ || test $6 = $$"),
    Case(Fully, "DUMB_INIT_SETSID=0|$|sh|-c|set -- $(cat /proc/$$/stat) && test $5 = $$ || test $6 = $$"),
    // Ends.
    Case(Fully, "sh|-c|exit 255"),
    Case(Fully, "sh|-c|kill -TERM $$"),
    Case(Fully, "sh|-c|kill -KILL $$"),
    Case(Fully, "-c|sh|-c|kill -HUP $$"),
    Case(Fully, "no-such-program"),
    Case(Fully, "-c|no-such-program"),
    Case(Fully, "./not-executable"),
    Case(Fully, "./folder"),
    Case(Fully, "./no-interpreter"),
    Case(Fully, "./no-first-line"),
    Case(Fully, "./not-executable/below"),
    Case(InCode, "./loop"),
];

const CATATONIT: &[Case] = &[
    Case(Fully, ""),
    Case(Fully, "--"),
    Case(Fully, "-g"),
    Case(Fully, "-h"),
    Case(Fully, "-h|-V"),
    Case(Fully, "-h|-x"),
    Case(Fully, "-x|-h"),
    Case(Fully, "-V"),
    Case(Fully, "-V|-x"),
    Case(Fully, "-Vx"),
    Case(Fully, "-gV"),
    Case(Fully, "-P|-V"),
    Case(Fully, "--version"),
    Case(Fully, "--ver"),
    Case(Fully, "--version=3"),
    Case(Fully, "--help"),
    Case(Fully, "--license"),
    Case(Fully, "--pause"),
    Case(Fully, "--g|true"),
    Case(InCode, "-L"),
    Case(InCode, "-L|-x"),
    Case(Fully, "-x"),
    Case(Fully, "-s|true"),
    Case(Fully, "true|-x"),
    Case(Fully, "sh|-c|exit 9"),
    Case(Fully, "true"),
    Case(Fully, "-g|true"),
    Case(Fully, "-gg|true"),
    Case(Fully, "true|-g"),
    Case(Fully, "--|true"),
    Case(Fully, "--|sh|-c|exit 9"),
    Case(Fully, "sh|--|-c|exit 8"),
    Case(Fully, "POSIXLY_CORRECT=1|$|sh|-c|exit 8"),
    Case(Fully, "--|-P"),
    Case(Fully, "-"),
    Case(Fully, "-g|"),
    Case(Fully, "CATATONIT_LOG=1|$|true"),
    Case(Fully, "CATATONIT_LOG=|$|-V"),
    Case(InCode, "CATATONIT_DEBUG=|$|true"),
    Case(Fully, "--|sh|-c|exit 255"),
    Case(Fully, "--|sh|-c|kill -KILL $$"),
    Case(Fully, "--|sh|-c|set -- $(cat /proc/$$/stat) && test $5 = $$ && test $6 != $$"),
    Case(Fully, "no-such-program"),
    Case(Fully, "./not-executable"),
    Case(Fully, "./folder"),
    Case(Fully, "./no-interpreter"),
    Case(Fully, "./no-first-line"),
    Case(Fully, "./not-executable/below"),
    Case(InCode, "./loop"),
];

#[test]
fn tini_and_hilum_agree() {
    compare("tini", "/usr/bin/tini", TINI);
}

#[test]
fn tini_static_and_hilum_agree() {
    compare("tini-static", "/usr/bin/tini-static", TINI);
}

#[test]
fn docker_init_is_tini() {
    compare("docker-init", "/usr/bin/tini", TINI);
}

#[test]
fn dumb_init_and_hilum_agree() {
    compare("dumb-init", "/usr/bin/dumb-init", DUMB_INIT);
}

#[test]
fn catatonit_and_hilum_agree() {
    compare("catatonit", "/usr/bin/catatonit", CATATONIT);
}

/// Runs all cases and reports every difference.
fn compare(name: &str, oracle: &str, cases: &[Case]) {
    assert!(Path::new(oracle).exists(), "{oracle} is missing: apt-get install tini dumb-init catatonit");
    let folder = make_folder(name);
    let mut differences = Vec::new();
    for Case(agree, line) in cases {
        let theirs = run(Path::new(oracle), name, line, &folder);
        let ours = run(Path::new(env!("CARGO_BIN_EXE_hilum")), name, line, &folder);
        let same = match agree {
            Fully => ours == theirs,
            InCode => ours.code == theirs.code,
        };
        if !same {
            differences.push(format!("{name} {line:?}\n  the tool: {theirs:?}\n  hilum:    {ours:?}"));
        }
    }
    assert!(differences.is_empty(), "{} of {} differ:\n{}", differences.len(), cases.len(), differences.join("\n"));
}

/// What a run came to, as far as scripts read it.
#[derive(PartialEq, Eq, Debug)]
struct Result {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

fn run(program: &Path, name: &str, line: &str, folder: &Path) -> Result {
    let mut command = Command::new(program);
    command.arg0(name).current_dir(folder).stdin(Stdio::null()).env_clear().env("PATH", "/usr/bin:/bin");
    let words: Vec<&str> = if line.is_empty() { Vec::new() } else { line.split('|').collect() };
    let (variables, words) = words.split_at(words.iter().position(|word| *word == "$").map_or(0, |at| at + 1));
    command.envs(variables.iter().filter_map(|variable| variable.split_once('=')));
    let output =
        command.args(words).output().unwrap_or_else(|error| panic!("cannot run {}: {error}", program.display()));
    Result {
        code: output.status.code(),
        stdout: essence(&String::from_utf8_lossy(&output.stdout)),
        stderr: essence(&String::from_utf8_lossy(&output.stderr)),
    }
}

/// The text down to its usage line, for the rest is for people, without pids and without what names hilum.
fn essence(text: &str) -> String {
    let mut out = String::new();
    for line in text.lines() {
        let line = line.split(" - hilum ").next().unwrap_or(line);
        let line = line.split(" (hilum ").next().unwrap_or(line);
        let mut letters = line.chars().peekable();
        while let Some(letter) = letters.next() {
            out.push(letter);
            // The pid in "(7)" and "(catatonit:7)".
            if letter == '(' || letter == ':' {
                while letters.next_if(char::is_ascii_digit).is_some() {}
            }
        }
        let out_line = out.rsplit('\n').next().unwrap_or_default().trim_end_matches(')').to_owned();
        out.truncate(out.rfind('\n').map_or(0, |at| at + 1));
        out.push_str(&out_line);
        out.push('\n');
        if line.contains("sage:") {
            break;
        }
    }
    out
}

fn make_folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("oracle-{name}"));
    // Left by an earlier run, if at all.
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(folder.join("folder")).unwrap();
    for (file, text, mode) in [
        ("not-executable", "data\n", 0o644),
        ("no-interpreter", "#!/no/such/interpreter\n", 0o755),
        ("no-first-line", "exit 5\n", 0o755),
    ] {
        let written = folder.with_extension("written");
        fs::write(&written, text).unwrap();
        fs::set_permissions(&written, fs::Permissions::from_mode(mode)).unwrap();
        // What this process writes may be inherited by what another test starts at that moment, and then nobody may execute it.
        let copied = Command::new("/bin/cp").args([&written, &folder.join(file)]).status().unwrap();
        assert!(copied.success(), "cp {}: {copied}", written.display());
    }
    symlink("loop", folder.join("loop")).unwrap();
    folder
}
