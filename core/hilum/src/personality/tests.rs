//! Command lines of other tools and what they come to.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a failed test is what a panic here is for")]

use super::*;
use crate::cli::{DEFAULT_GRACE, DEFAULT_WAIT, JOB_CONTROL};
use hilum_config::{Group, Listen, Output, Relay, StatusMode, Verbosity};
use hilum_engine::{EndingPlan, RestartPolicy, Scope, Signal, SignalSet, Span, TtlPlan};

/// Reads a line of words separated by spaces, the tool's name first, after variables of the form `NAME=VALUE` before a `$`.
fn read_line(text: &str) -> Outcome {
    let words: Vec<&str> = text.split(' ').filter(|word| !word.is_empty()).collect();
    let at = words.iter().position(|word| *word == "$").map_or(0, |at| at + 1);
    let (variables, words) = words.split_at(at);
    let variables: Vec<(&str, &str)> = variables.iter().filter_map(|variable| variable.split_once('=')).collect();
    let env = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| OsString::from(value));
    let (name, words) = words.split_first().unwrap();
    let words: Vec<OsString> = words.iter().map(OsString::from).collect();
    read(OsStr::new(name), &words, &env, Facts { pid: 7 }).unwrap()
}

fn launch(text: &str) -> Launch {
    match read_line(text) {
        Outcome::Start(launch) => *launch,
        other => panic!("{text}: {other:?}"),
    }
}

/// Standard output, standard error and exit code.
fn print(text: &str) -> (String, String, u8) {
    match read_line(text) {
        Outcome::Print { stdout, stderr, code } => (stdout, stderr, code),
        other => panic!("{text}: {other:?}"),
    }
}

fn scope(launch: &Launch) -> Scope {
    launch.plan.services.first().unwrap().stop.scope
}

#[test]
fn tools_are_known_by_the_names_they_are_published_under() {
    for (name, voice) in [
        ("tini", Some(Voice::Tini)),
        ("/sbin/tini", Some(Voice::Tini)),
        ("tini-static-amd64", Some(Voice::Tini)),
        ("/usr/bin/docker-init", Some(Voice::Tini)),
        ("dumb-init_1.2.5_x86_64", Some(Voice::DumbInit)),
        ("/usr/libexec/podman/catatonit", Some(Voice::Catatonit)),
        ("catatonit.x86_64", Some(Voice::Catatonit)),
        ("kapo", Some(Voice::Kapo)),
        ("hilum", None),
        ("tinier", None),
        ("dumb", None),
        ("", None),
        ("/", None),
    ] {
        assert_eq!(voice_of(OsStr::new(name)), voice, "{name}");
    }
}

#[test]
fn tini_passes_signals_on_and_gives_them_no_meaning() {
    let plain = launch("tini app");
    assert_eq!(scope(&plain), Scope::Leader);
    assert_eq!(plain.plan.signals.stop, SignalSet::EMPTY);
    for signal in 1..=64 {
        let left_alone = [4, 5, 6, 7, 8, 9, 11, 17, 19, 21, 22, 31].contains(&signal);
        assert_eq!(plain.plan.signals.forward.contains(Signal(signal)), !left_alone, "{signal}");
    }
    let process = &plain.process;
    assert_eq!((process.subreaper, process.warn_orphans, process.log_orphans), (false, true, false));
    assert_eq!((process.voice, process.verbosity), (Voice::Tini, Verbosity::Warn));
    assert_eq!(plain.services.first().unwrap().group, Group::Own);

    let all = launch("tini -sgwvp SIGINT -e 3 -e143 -- app -s");
    assert_eq!(scope(&all), Scope::Group);
    assert_eq!(all.plan.ending.codes_to_zero, [3, 143]);
    let process = &all.process;
    assert_eq!((process.subreaper, process.log_orphans, process.parent_death_signal), (true, true, 2));
    assert_eq!(process.verbosity, Verbosity::Info);
    assert_eq!(all.services.first().unwrap().command, ["app", "-s"]);
}

#[test]
fn tinis_variables_count_by_presence_and_verbosity_by_value() {
    let set = launch("TINI_SUBREAPER= TINI_KILL_PROCESS_GROUP=0 TINI_VERBOSITY=3x $ tini app");
    assert_eq!((set.process.subreaper, scope(&set), set.process.verbosity), (true, Scope::Group, Verbosity::Debug));
    for (value, verbosity) in [
        ("0", Verbosity::Error),
        ("-9", Verbosity::Error),
        ("x", Verbosity::Error),
        ("", Verbosity::Error),
        ("1", Verbosity::Warn),
        ("+2", Verbosity::Info),
        ("99999999999999999999", Verbosity::Debug),
    ] {
        assert_eq!(launch(&format!("TINI_VERBOSITY={value} $ tini -v app")).process.verbosity, verbosity, "{value}");
    }
    let silent = launch("TINI_VERBOSITY=0 $ tini -w app").process;
    assert_eq!((silent.warn_orphans, silent.log_orphans), (false, false));
}

#[test]
fn tini_says_what_scripts_read() {
    let docker = print("docker-init --version").0;
    // Docker's own way of reading it.
    assert_eq!(docker.split(" - ").next(), Some("tini version 0.19.0"));
    assert_eq!(
        print("tini -p TERM app"),
        (String::new(), String::from("[FATAL tini (7)] Not a valid option for -p: TERM\n"), 1)
    );
    assert_eq!(print("tini -e 256 app").1, "[FATAL tini (7)] Not a valid option for -e: 256\n");
    let (stdout, stderr, code) = print("/sbin/tini sh -c true");
    assert_eq!((stdout.as_str(), code), ("", 1));
    assert!(stderr.starts_with("/sbin/tini: invalid option -- 'c'\ntini (tini version 0.19.0"), "{stderr}");
    assert!(stderr.ends_with("to pass that option to the program, write -- before the program\n"), "{stderr}");
    assert!(!print("tini -x app").1.contains("to pass that option"));
    let (stdout, stderr, code) = print("tini -l");
    assert!(stdout.contains("MIT") && stderr.is_empty() && code == 0);
}

#[test]
fn dumb_init_leads_a_session_and_rewrites() {
    let plain = launch("dumb-init app");
    assert_eq!((scope(&plain), plain.services.first().unwrap().group), (Scope::Group, Group::Session));
    assert_eq!(plain.plan.ending, EndingPlan { parting_signal: Some(Signal::TERM), ..EndingPlan::default() });
    assert_eq!(plain.plan.signals.suspend, SignalSet::of(&JOB_CONTROL));
    assert_eq!(plain.plan.signals.rewrite, JOB_CONTROL.map(|signal| (signal, Signal::STOP)));
    assert_eq!(plain.plan.signals.stop, SignalSet::EMPTY);
    assert!(plain.plan.signals.forward.contains(Signal(11)) && !plain.plan.signals.forward.contains(Signal(17)));
    assert_eq!((plain.process.subreaper, plain.process.warn_orphans), (false, false));

    let rewritten = launch("dumb-init -r 15:3 --rewrite=1:0 -r 15:2 -r 20:15 app -r");
    let expected = [
        (Signal::HUP, Signal(0)),
        (Signal::TERM, Signal::INT),
        (Signal(20), Signal::TERM),
        (Signal(21), Signal::STOP),
        (Signal(22), Signal::STOP),
    ];
    assert_eq!(rewritten.plan.signals.rewrite, expected);
    assert_eq!(rewritten.plan.ending.parting_signal, Some(Signal::INT));
    assert_eq!(launch("dumb-init -r 15:0 app").plan.ending.parting_signal, None);
}

#[test]
fn dumb_init_alone_with_its_child_stays_in_its_group() {
    for line in ["dumb-init -c app", "DUMB_INIT_SETSID=0 $ dumb-init app", "dumb-init --sing app"] {
        let single = launch(line);
        assert_eq!((scope(&single), single.services.first().unwrap().group), (Scope::Leader, Group::Shared), "{line}");
        assert_eq!(single.plan.ending.parting_signal, None);
        assert_eq!(single.plan.signals.suspend, SignalSet::of(&JOB_CONTROL));
        assert_eq!(single.plan.signals.rewrite, JOB_CONTROL.map(|signal| (signal, signal)));
    }
    assert_eq!(launch("DUMB_INIT_DEBUG=1 $ dumb-init app").process.verbosity, Verbosity::Debug);
    assert_eq!(launch("DUMB_INIT_DEBUG=true $ dumb-init app").process.verbosity, Verbosity::Error);
}

#[test]
fn dumb_init_answers_on_standard_error() {
    let (stdout, stderr, code) = print("dumb-init -V");
    assert!(stdout.is_empty() && stderr.starts_with("dumb-init v1.2.5 ") && code == 0, "{stderr}");
    let (stdout, stderr, code) = print("dumb-init --help");
    assert!(stdout.is_empty() && stderr.contains("\nUsage: dumb-init ") && code == 0, "{stderr}");
    // Numbers that fit no int: refused, where the original takes them for others.
    for pair in ["15:4294967297", "4294967297:1", "99999999999999999999:1"] {
        assert_eq!(print(&format!("dumb-init -r {pair} app")).2, 1);
    }
}

#[test]
fn catatonit_swallows_the_terminals_signals() {
    let plain = launch("catatonit app");
    assert_eq!((scope(&plain), plain.services.first().unwrap().group), (Scope::Leader, Group::Own));
    assert_eq!((plain.process.subreaper, plain.process.warn_orphans), (true, false));
    for signal in 1..=64 {
        let left_alone = [4, 5, 6, 7, 8, 9, 11, 17, 19, 20, 21, 22, 31].contains(&signal);
        assert_eq!(plain.plan.signals.forward.contains(Signal(signal)), !left_alone, "{signal}");
    }
    assert_eq!(scope(&launch("catatonit -g app")), Scope::Group);
    assert_eq!(launch("CATATONIT_DEBUG= $ catatonit app").process.verbosity, Verbosity::Debug);
}

#[test]
fn catatonit_pauses_without_a_command() {
    for line in ["catatonit -P", "catatonit -P app", "catatonit app -P"] {
        let pause = launch(line);
        assert!(pause.plan.services.is_empty() && pause.services.is_empty(), "{line}");
        assert_eq!(pause.plan.signals.stop, SignalSet::of(&[Signal::INT, Signal::TERM]));
    }
    assert_eq!(print("catatonit").1.lines().next(), Some("ERROR (catatonit:7): missing program name"));
    let version = print("catatonit -V").0;
    assert_eq!(version.split(" - ").next(), Some("tini version 0.1.7_catatonit"));
}

#[test]
fn each_tool_reports_a_failed_start_in_its_own_words() {
    let failure = |voice, error, text| spawn_failure(voice, SpawnStep::Exec, OsStr::new("app"), error, text);
    let report = |text: &str, code| Some((String::from(text), code));
    assert_eq!(failure(Voice::Hilum, 2, "x"), None);
    assert_eq!(
        failure(Voice::Tini, 2, "No such file or directory"),
        report("exec app failed: No such file or directory", 127)
    );
    assert_eq!(failure(Voice::Tini, 13, "Permission denied"), report("exec app failed: Permission denied", 126));
    assert_eq!(failure(Voice::Tini, 20, "Not a directory"), report("exec app failed: Not a directory", 1));
    assert_eq!(failure(Voice::DumbInit, 2, "No such file or directory"), report("app: No such file or directory", 2));
    assert_eq!(failure(Voice::Catatonit, 13, "Permission denied"), report("failed to exec pid1: Permission denied", 1));
    assert_eq!(failure(Voice::Kapo, 2, "x"), report("cannot start app: x", 1));
    for voice in [Voice::Tini, Voice::DumbInit, Voice::Catatonit, Voice::Kapo] {
        assert_eq!(spawn_failure(voice, SpawnStep::Fork, OsStr::new("app"), 11, "x").unwrap().1, 1);
    }
}

#[test]
fn kapo_runs_once_behind_its_port_and_passes_output_on() {
    let run = launch("kapo run worker -t 9");
    let service = run.services.first().unwrap();
    assert_eq!(service.command, ["worker", "-t", "9"]);
    assert_eq!((service.output, service.empty_input), (Output::Inherit, true));
    let status = run.status.unwrap();
    assert_eq!(
        (status.listen.as_slice(), status.mode),
        ([Listen::Tcp("0.0.0.0:6666".parse().unwrap())].as_slice(), StatusMode::Run)
    );
    let plan = run.plan.services.first().unwrap();
    assert_eq!((plan.restart.policy, plan.stop.grace, plan.ttl), (RestartPolicy::Never, None, None));
    assert_eq!(run.plan.signals.stop, SignalSet::of(&[Signal::TERM, Signal::INT, Signal::QUIT]));
    assert_eq!((run.process.voice, run.process.subreaper), (Voice::Kapo, true));
}

#[test]
fn kapos_flags_are_gos() {
    let run = launch("kapo -port=0x50 --interface=::1 -b r -t 30 --wait 2 -- worker -x");
    let status = run.status.as_ref().unwrap();
    assert_eq!(status.listen, [Listen::Tcp("[::1]:80".parse().unwrap())]);
    assert_eq!(status.sidebind, Some("[::1]:80".parse().unwrap()));
    let plan = run.plan.services.first().unwrap();
    let half_a_minute = Span::from_secs(30);
    assert_eq!(plan.ttl, Some(TtlPlan { min: half_a_minute, max: half_a_minute }));
    assert_eq!((plan.stop.grace, plan.stop.sweep), (Some(DEFAULT_GRACE), true));
    assert_eq!(run.plan.ending.linger, Span::from_secs(2));
    let service = run.services.first().unwrap();
    assert_eq!((service.ttl, service.wait), (half_a_minute, Span::from_secs(2)));
    assert_eq!(service.command, ["worker", "-x"]);
    // The `--` behind the command is the child's; of one flag given twice the last counts.
    assert_eq!(launch("kapo run worker -- -x").services.first().unwrap().command, ["worker", "--", "-x"]);
    assert_eq!(launch("kapo -p 1 -p 2 run worker").status.unwrap().listen, [Listen::Tcp("0.0.0.0:2".parse().unwrap())]);
}

#[test]
fn kapos_variables_feed_the_flags_they_are_named_after() {
    let run = launch("KAPO_PORT=7 KAPO_SIDEBIND=t KAPO_TTL=010 KAPO_WAIT=1_0 KAPO_STDLOG= $ kapo run worker");
    assert_eq!(run.status.as_ref().unwrap().sidebind, Some("0.0.0.0:7".parse().unwrap()));
    let service = run.services.first().unwrap();
    assert_eq!((service.ttl, service.wait, service.output), (Span::from_secs(8), Span::from_secs(10), Output::Inherit));
    assert_eq!(
        launch("KAPO_PORT=7 $ kapo -p 8 run worker").status.unwrap().listen,
        [Listen::Tcp("0.0.0.0:8".parse().unwrap())]
    );
    assert_eq!(
        launch("KAPO_INTERFACE= $ kapo run worker").status.unwrap().listen,
        [Listen::Tcp("0.0.0.0:6666".parse().unwrap())]
    );
    // supervise has no time to live and does not look at its variable.
    assert_eq!(launch("KAPO_TTL=bad $ kapo supervise worker").plan.services.first().unwrap().ttl, None);
}

#[test]
fn kapo_relays_as_asked() {
    let output = |line: &str| launch(line).services.first().unwrap().output;
    let relay = |stdout, stderr| Output::Relay { stdout, stderr };
    assert_eq!(output("kapo --stdout run x"), Output::Inherit);
    assert_eq!(output("kapo --stdout --stderr --stdlog run x"), relay(Relay::Log, Relay::Log));
    assert_eq!(output("kapo --stdlog run x"), relay(Relay::Log, Relay::Log));
    assert_eq!(output("kapo -S=false run x"), relay(Relay::Null, Relay::Inherit));
    assert_eq!(output("KAPO_STDERR=0 $ kapo -L run x"), relay(Relay::Log, Relay::Null));
}

#[test]
fn kapo_supervises_with_a_fixed_wait() {
    for (line, wait) in [
        ("kapo s worker", DEFAULT_WAIT),
        ("kapo supervise -w 0 worker", Span::ZERO),
        ("KAPO_WAIT=2 $ kapo s worker", Span::from_secs(2)),
    ] {
        let launch = launch(line);
        let restart = &launch.plan.services.first().unwrap().restart;
        assert_eq!(
            (restart.policy, restart.backoff.initial, restart.backoff.cap),
            (RestartPolicy::Always, wait, wait),
            "{line}"
        );
        assert_eq!((restart.backoff.factor, restart.backoff.jitter, &restart.limit), (1000, 0, &None));
        assert_eq!((launch.services.first().unwrap().wait, launch.plan.ending.linger), (wait, Span::ZERO));
    }
}

#[test]
fn kapo_watches_names_and_pids() {
    let watch = |line: &str| match read_line(line) {
        Outcome::Watch(watch) => *watch,
        other => panic!("{line}: {other:?}"),
    };
    let named = watch("kapo w nginx");
    assert_eq!((named.name.to_str(), named.pid, named.period), (Some("nginx"), None, DEFAULT_WAIT));
    let held = watch("KAPO_WATCHPID=9 $ kapo -p 1 watch -p 12 -w 1 any");
    assert_eq!((held.name.to_str(), held.pid, held.period), (Some("any"), Some(12), Span::from_secs(1)));
    assert_eq!(held.status.listen, [Listen::Tcp("0.0.0.0:1".parse().unwrap())]);
    assert_eq!(watch("KAPO_WATCHPID=9 $ kapo watch").pid, Some(9));
    assert_eq!(watch("kapo watch --pid 0 any").pid, None);
}

#[test]
fn kapo_refuses_what_it_once_ignored() {
    for (line, message) in [
        ("kapo --bogus run x", "no flag is called --bogus"),
        ("kapo run --bogus x", "no flag is called --bogus"),
        ("kapo run --port 1 x", "no flag is called --port"),
        ("kapo -be run x", "no flag is called -be"),
        ("kapo ---port 1 run x", "no flag is called ---port"),
        ("kapo -p", "-p needs a value"),
        ("kapo -p 1 --port 2 run x", "both --port and -p are given; give one of them"),
        ("kapo -p 70000 run x", "-p: 70000 is not a port; write a number from 0 to 65535"),
        ("KAPO_PORT=eighty $ kapo run x", "KAPO_PORT: \"eighty\" is not a whole number of zero or more"),
        ("KAPO_PORT= $ kapo run x", "KAPO_PORT is set but empty; unset it or give it a number"),
        ("KAPO_TTL=-1 $ kapo run x", "KAPO_TTL: \"-1\" is not a whole number of zero or more"),
        ("kapo run -t 5s x", "-t: \"5s\" is not a whole number of zero or more"),
        ("kapo run -t 999999999999 x", "-t: 999999999999 seconds are longer than ten years"),
        ("KAPO_SIDEBIND=yes $ kapo run x", "KAPO_SIDEBIND: \"yes\" is neither true nor false"),
        ("kapo -b -p 0 run x", "--sidebind needs a port to count from, but the port is 0"),
        (
            "kapo -i eth0 run x",
            "-i: \"eth0\" is not an address; write one as \"127.0.0.1\" or \"::1\" (names are not looked up)",
        ),
        ("kapo watch", "nothing to watch; name a process, or give --pid"),
        ("kapo watch a b", "\"b\" is one word too many; flags come before the name"),
        ("kapo watch -w 0 a", "-w: 0 would look at the processes without a pause; write at least 1"),
        ("kapo watch -p 99999999999 a", "-p: 99999999999 is not a process id; write a smaller number"),
    ] {
        let (stdout, stderr, code) = print(line);
        let expected = format!("kapo: cannot read the command line: {message}\nkapo: see kapo --help\n");
        assert_eq!((stdout.as_str(), stderr, code), ("", expected, 64), "{line}");
    }
}

#[test]
fn kapo_keeps_the_codes_that_were_not_defects() {
    for line in ["kapo", "kapo help", "kapo h", "kapo -h", "kapo --help", "kapo run --help", "kapo w -h x"] {
        let (stdout, stderr, code) = print(line);
        assert!(stdout.starts_with("Usage: kapo ") && stderr.is_empty() && code == 0, "{line}");
    }
    assert!(print("kapo -v").0.starts_with("kapo version "));
    assert_eq!(print("kapo frob").2, 2);
    assert_eq!(print("kapo run").2, 1);
    assert_eq!(print("kapo run --").2, 1);
}
