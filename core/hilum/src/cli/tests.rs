//! Command lines and what they come to.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a failed test is what a panic here is for")]

use super::*;
use std::os::unix::ffi::OsStringExt;

/// Reads a line of words separated by spaces, after variables of the form `NAME=VALUE` before a `$`.
fn read_line(text: &str) -> Command {
    let words: Vec<&str> = text.split(' ').filter(|word| !word.is_empty()).collect();
    let at = words.iter().position(|word| *word == "$").map_or(0, |at| at + 1);
    let (variables, words) = words.split_at(at);
    let variables: Vec<(&str, &str)> = variables.iter().filter_map(|variable| variable.split_once('=')).collect();
    let env = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| OsString::from(value));
    let argv: Vec<OsString> = ["hilum"].iter().chain(words).map(OsString::from).collect();
    read(&argv, &env, Facts { pid: 7 })
}

fn launch(text: &str) -> Launch {
    match read_line(text) {
        Command::Start(launch) => *launch,
        other => panic!("{text}: {other:?}"),
    }
}

/// The first line of what is said about a line that is refused with 64.
fn refusal(text: &str) -> String {
    match read_line(text) {
        Command::Print { stdout, stderr, code: USAGE } if stdout.is_empty() => {
            let line = stderr.lines().next().unwrap();
            String::from(line.strip_prefix("hilum: cannot read the command line: ").unwrap())
        }
        other => panic!("{text}: {other:?}"),
    }
}

fn help(text: &str) -> String {
    match read_line(text) {
        Command::Print { stdout, stderr, code: 0 } if stderr.is_empty() => stdout,
        other => panic!("{text}: {other:?}"),
    }
}

fn status(text: &str) -> StatusLaunch {
    launch(text).status.unwrap()
}

fn tcp(text: &str) -> Listen {
    Listen::Tcp(text.parse().unwrap())
}

#[test]
fn init_alone_supervises_one_essential_command_without_killing_it() {
    let launch = launch("init /bin/app -x --port 9");
    let [plan] = launch.plan.services.as_slice() else { panic!("one service") };
    assert_eq!(*plan, ServicePlan::once("app"));
    assert_eq!(launch.services, [ServiceLaunch { command: words("/bin/app -x --port 9"), ..ServiceLaunch::default() }]);
    assert_eq!(launch.status, None);
    let signals = &launch.plan.signals;
    assert_eq!(signals.stop, SignalSet::of(&[Signal::TERM, Signal::INT, Signal::QUIT]));
    for signal in 1..=64 {
        let never = [Signal::KILL, Signal::STOP, Signal(17)].contains(&Signal(signal));
        assert_eq!(signals.forward.contains(Signal(signal)), !never, "{signal}");
    }
    assert_eq!(launch.process, ProcessLaunch { verbosity: Verbosity::Warn, ..ProcessLaunch::default() });
}

fn words(text: &str) -> Vec<OsString> {
    text.split(' ').map(OsString::from).collect()
}

#[test]
fn the_childs_words_begin_at_the_first_word_that_is_no_option() {
    for (line, command) in [
        ("init app --help", "app --help"),
        ("init -- --help", "--help"),
        ("init -v -- app -- -q", "app -- -q"),
        ("init -v app -- -q", "app -- -q"),
        ("init - -v", "- -v"),
        ("run --port 8 worker --ttl 9s", "worker --ttl 9s"),
        ("run worker a --wait 3s b", "worker a --wait 3s b"),
        ("run --port=8 help", "help"),
        ("supervise -- -- x", "-- x"),
    ] {
        assert_eq!(launch(line).services.first().unwrap().command, words(command), "{line}");
    }
}

#[test]
fn the_childs_words_are_bytes() {
    let odd = OsString::from_vec(vec![b'a', 0xff]);
    let argv = [OsString::from("hilum"), OsString::from("init"), odd.clone(), odd.clone()];
    let Command::Start(launch) = read(&argv, &|_| None, Facts { pid: 7 }) else { panic!("a start") };
    assert_eq!(launch.services.first().unwrap().command, [odd.clone(), odd.clone()]);
    assert_eq!(launch.plan.services.first().unwrap().name, "a-");
    for words in [["init", "--po\u{0}"], ["init", "--rewrite"]] {
        let mut argv: Vec<OsString> = std::iter::once("hilum").chain(words).map(OsString::from).collect();
        argv.push(odd.clone());
        argv.push(OsString::from("app"));
        assert!(matches!(read(&argv, &|_| None, Facts { pid: 7 }), Command::Print { code: USAGE, .. }));
    }
    let argv = words("hilum init app");
    assert!(matches!(read(&argv, &|_| Some(odd.clone()), Facts { pid: 7 }), Command::Print { code: USAGE, .. }));
}

#[test]
fn every_option_of_a_child_arrives() {
    let launch = launch(
        "init --signal-to leader --grace-period 5s --wait-all --rewrite TERM:QUIT --rewrite HUP:0 --term-delay 2s --exit-code-to-zero 143 \
         --exit-code-to-zero 3 --session --no-subreaper --parent-death-signal SIGKILL --log-orphans -v --drill fault app",
    );
    let plan = launch.plan.services.first().unwrap();
    assert_eq!(
        plan.stop,
        StopPlan { signal: None, grace: Some(Span::from_secs(5)), scope: Scope::Leader, sweep: false }
    );
    assert_eq!(launch.plan.signals.rewrite, [(Signal::TERM, Signal::QUIT), (Signal::HUP, Signal(0))]);
    assert_eq!(launch.plan.signals.delay, Span::from_secs(2));
    assert_eq!(launch.plan.signals.suspend, SignalSet::of(&JOB_CONTROL));
    assert_eq!(
        launch.plan.ending,
        EndingPlan { wait_for_descendants: true, codes_to_zero: vec![143, 3], ..EndingPlan::default() }
    );
    assert_eq!(launch.services.first().unwrap().group, ChildGroup::Session);
    let expected = ProcessLaunch {
        subreaper: false,
        warn_orphans: true,
        log_orphans: true,
        parent_death_signal: 9,
        last_resort_grace: Span::from_secs(5),
        verbosity: Verbosity::Debug,
        drill: Some(Drill::Fault),
        ..ProcessLaunch::default()
    };
    assert_eq!(launch.process, expected);
}

#[test]
fn in_hilums_own_group_only_the_leader_is_signalled() {
    let launch = launch("init --same-group app");
    assert_eq!(launch.plan.services.first().unwrap().stop.scope, Scope::Leader);
    let same = |signal: Signal| launch.plan.signals.rewrite.contains(&(signal, signal));
    assert!(JOB_CONTROL.into_iter().all(same));
    assert_eq!(
        refusal("init --same-group --signal-to group app"),
        "--signal-to group and --same-group exclude each other: hilum would signal itself"
    );
}

#[test]
fn run_has_kapos_port_and_supervise_restarts() {
    let run = launch("run app");
    assert_eq!(
        run.status,
        Some(StatusLaunch {
            listen: vec![tcp("0.0.0.0:6666")],
            socket_activation: false,
            sidebind: None,
            mode: StatusMode::Run
        })
    );
    assert_eq!(run.plan.services.first().unwrap().stop.grace, None);
    assert_eq!(run.services.first().unwrap().output, Output::Inherit);

    let supervise = launch("supervise app");
    let plan = supervise.plan.services.first().unwrap();
    assert_eq!(supervise.status.unwrap().mode, StatusMode::Supervise);
    assert_eq!(plan.restart.policy, RestartPolicy::Always);
    assert_eq!(plan.restart.backoff.initial, Span::from_millis(200));
    assert_eq!(plan.restart.backoff.cap, Span::from_secs(30));
    assert_eq!(plan.restart.limit, None);
    assert_eq!(plan.stop.grace, Some(DEFAULT_GRACE));
    assert!(plan.stop.sweep);
}

#[test]
fn a_time_to_live_bounds_the_stop_too() {
    let run = launch("run --ttl 20m..40m --wait 10s app");
    let plan = run.plan.services.first().unwrap();
    assert_eq!(plan.ttl, Some(TtlPlan { min: Span::from_secs(1200), max: Span::from_secs(2400) }));
    assert_eq!(plan.stop.grace, Some(DEFAULT_GRACE));
    assert!(plan.stop.sweep);
    assert_eq!(run.plan.ending.linger, Span::from_secs(10));
    let service = run.services.first().unwrap();
    assert_eq!((service.wait, service.ttl), (Span::from_secs(10), Span::from_secs(2400)));
    assert_eq!(launch("run --ttl 5s --grace-period none app").plan.services.first().unwrap().stop.grace, None);
}

#[test]
fn restarts_are_paced_as_asked() {
    let restart = |line: &str| launch(line).plan.services.first().unwrap().restart.clone();
    assert_eq!(
        restart("supervise --wait 3s app").backoff,
        BackoffPlan { initial: Span::from_secs(3), cap: Span::from_secs(3), ..BackoffPlan::NONE }
    );
    let all = restart(
        "supervise --restart on-failure --backoff-initial 1s --backoff-factor 1.5 --backoff-cap 8s --backoff-jitter 0.25 --backoff-reset 2m \
         --restart-limit 5/1m app",
    );
    let backoff = BackoffPlan {
        initial: Span::from_secs(1),
        factor: 1500,
        cap: Span::from_secs(8),
        jitter: 250,
        reset_after: Span::from_secs(120),
    };
    let limit = RestartLimit { count: 5, within: Span::from_secs(60), then: LimitAction::EndContainer };
    assert_eq!(all, RestartPlan { policy: RestartPolicy::OnFailure, backoff, limit: Some(limit) });
    // The default cap does not cut a longer first wait.
    assert_eq!(restart("supervise --backoff-initial 2m app").backoff.cap, Span::from_secs(120));
    assert_eq!(
        refusal("HILUM_WAIT=1s $ supervise --backoff-cap 2s app"),
        "HILUM_WAIT fixes the wait and --backoff-cap shapes a growing one; give one of them"
    );
    assert_eq!(
        refusal("supervise --backoff-initial 5s --backoff-cap 2s app"),
        "--backoff-cap is shorter than the first wait, 5s; make it at least as long"
    );
}

#[test]
fn listeners_are_where_they_are_asked_for() {
    for (line, expected) in [
        ("run --port 80 app", "0.0.0.0:80"),
        ("run --interface ::1 app", "[::1]:6666"),
        ("run --interface [::1] --port 1 app", "[::1]:1"),
        ("run --interface localhost app", "127.0.0.1:6666"),
        ("run --listen 127.0.0.1:8111 app", "127.0.0.1:8111"),
        ("run --listen [::]:8111 app", "[::]:8111"),
        ("run --listen localhost:1 app", "127.0.0.1:1"),
    ] {
        assert_eq!(status(line).listen, [tcp(expected)], "{line}");
    }
    let several = status("run --listen unix:/run/s --listen 127.0.0.1:1 --sidebind app");
    assert_eq!(several.listen, [Listen::Unix(PathBuf::from("/run/s")), tcp("127.0.0.1:1")]);
    assert_eq!(several.sidebind, Some("127.0.0.1:1".parse().unwrap()));
    let inherited = status("run --socket-activation --sidebind --port 7 app");
    assert_eq!((inherited.listen, inherited.socket_activation), (Vec::new(), true));
    assert_eq!(inherited.sidebind, Some("0.0.0.0:7".parse().unwrap()));
}

#[test]
fn output_is_passed_on_unless_told_otherwise() {
    let output = |line: &str| launch(line).services.first().unwrap().output;
    assert_eq!(output("run app"), Output::Inherit);
    assert_eq!(output("run --stdout inherit app"), Output::Inherit);
    assert_eq!(output("run --stdout log app"), Output::Relay { stdout: Relay::Log, stderr: Relay::Inherit });
    assert_eq!(output("HILUM_STDERR=null $ run app"), Output::Relay { stdout: Relay::Inherit, stderr: Relay::Null });
}

#[test]
fn a_flag_beats_its_variable_and_a_variable_the_default() {
    assert_eq!(status("HILUM_PORT=1 $ run app").listen, [tcp("0.0.0.0:1")]);
    assert_eq!(status("HILUM_PORT=1 $ run --port 2 app").listen, [tcp("0.0.0.0:2")]);
    assert_eq!(status("HILUM_PORT=bad $ run --port 2 app").listen, [tcp("0.0.0.0:2")]);
    assert!(launch("HILUM_WAIT_ALL=yes $ init app").plan.ending.wait_for_descendants);
    assert!(!launch("HILUM_WAIT_ALL=0 $ init app").plan.ending.wait_for_descendants);
    let many = launch("HILUM_REWRITE=TERM:INT,HUP:0 HILUM_EXIT_CODE_TO_ZERO=3,4 $ init app");
    assert_eq!(many.plan.signals.rewrite, [(Signal::TERM, Signal::INT), (Signal::HUP, Signal(0))]);
    assert_eq!(many.plan.ending.codes_to_zero, [3, 4]);
    assert_eq!(
        status("HILUM_LISTEN=127.0.0.1:1,unix:/s $ run app").listen,
        [tcp("127.0.0.1:1"), Listen::Unix(PathBuf::from("/s"))]
    );
    // A variable of another command's switch is not looked at.
    launch("HILUM_PORT=bad HILUM_TTL= $ init app");
}

#[test]
fn what_is_wrong_is_named_with_its_value_and_the_way_out() {
    for (line, message) in [
        ("init", "no command to start; write it after the options, as in -- /app --its-option"),
        ("init --", "no command to start; write it after the options, as in -- /app --its-option"),
        ("frob", "no command is called \"frob\"; for a program of that name write hilum init -- frob"),
        ("-- app", "no command is named before \"--\"; for one command as PID 1 write hilum init -- COMMAND"),
        ("--port 8", "the first word must be a command, but it is \"--port\"; the options come after it"),
        ("init --bogus app", "no option is called --bogus"),
        ("init -x app", "no option is called -x"),
        ("init -vq app", "no option is called -vq"),
        ("init --port 1 app", "no option is called --port"),
        ("init --grace-period", "--grace-period needs a value: --grace-period span"),
        ("init --wait-all=1 app", "--wait-all is on or absent and takes no value, but \"1\" was given"),
        ("run --port 1 --port 2 app", "--port was given twice"),
        ("init --grace-period 10 app", "--grace-period: \"10\" has no unit; write \"10s\""),
        ("HILUM_GRACE_PERIOD=10 $ init app", "HILUM_GRACE_PERIOD: \"10\" has no unit; write \"10s\""),
        ("HILUM_PORT= $ run app", "HILUM_PORT is set but empty; unset it or give it a value"),
        ("HILUM_WAIT_ALL= $ init app", "HILUM_WAIT_ALL is set but empty; unset it or give it a value"),
        ("HILUM_WAIT_ALL=maybe $ init app", "HILUM_WAIT_ALL: \"maybe\" is neither yes nor no; write 1 or 0"),
        (
            "HILUM_PORT=tcp://10.0.0.1:80 $ run app",
            "HILUM_PORT: \"tcp://10.0.0.1:80\" is not a port; write a number from 0 to 65535; where Kubernetes sets it for a Service of \
             that name, set enableServiceLinks: false or give the flag",
        ),
        ("run --port 70000 app", "--port: \"70000\" is not a port; write a number from 0 to 65535"),
        ("run --port +80 app", "--port: \"+80\" is not a port; write a number from 0 to 65535"),
        (
            "run --interface eth0 app",
            "--interface: \"eth0\" is not an address; write one as \"127.0.0.1\" or \"::1\" (names are not looked up)",
        ),
        ("run --listen ::1:80 app", "--listen: \"::1:80\" does not say where its address ends; write \"[::1]:80\""),
        (
            "run --listen 8111 app",
            "--listen: \"8111\" is no place to listen; write \"127.0.0.1:8111\", \"[::1]:8111\" or \"unix:/path\"",
        ),
        ("run --listen unix: app", "--listen: \"unix:\" names no path; write it as \"unix:/run/status.sock\""),
        (
            "HILUM_PORT=1 $ run --listen 127.0.0.1:1 app",
            "--listen says where to listen, and so does HILUM_PORT; give one of them",
        ),
        ("run --listen unix:/s --sidebind app", "--sidebind needs a port to count from, but --listen names none"),
        ("run --port 0 --sidebind app", "--sidebind needs a port to count from, but the port is 0"),
        ("run --ttl 0s app", "--ttl: \"0s\" is no time at all; write at least \"1ms\""),
        ("run --ttl 2m..1m app", "--ttl: \"2m..1m\" ends before it begins; write the shorter time first"),
        ("run --stdout tee app", "--stdout: \"tee\" is not one of inherit, log, null"),
        ("init --rewrite TERM app", "--rewrite: \"TERM\" is not a pair of signals; write it as \"TERM:QUIT\""),
        ("init --rewrite KILL:TERM app", "--rewrite: \"KILL:TERM\" rewrites a signal that is never passed on"),
        ("init --rewrite TERM:INT --rewrite 15:0 app", "--rewrite: \"15:0\" rewrites a signal for the second time"),
        (
            "init --exit-code-to-zero 256 app",
            "--exit-code-to-zero: \"256\" is not an exit code; write a number from 0 to 255",
        ),
        (
            "init --session --same-group app",
            "--session, --own-group and --same-group exclude each other; give one of them",
        ),
        ("init -v --quiet app", "--verbose and --quiet exclude each other"),
        ("init --drill all app", "--drill: \"all\" is not one of panic, fault, abort, overflow"),
        ("supervise --restart never app", "--restart: \"never\" is not one of always, on-failure"),
        (
            "supervise --backoff-factor 0.5 app",
            "--backoff-factor: \"0.5\" is not a number from 1 to 1000 with at most three decimals",
        ),
        (
            "supervise --backoff-jitter 1.1 app",
            "--backoff-jitter: \"1.1\" is not a number from 0 to 1 with at most three decimals",
        ),
        (
            "supervise --backoff-jitter 0.0001 app",
            "--backoff-jitter: \"0.0001\" is not a number from 0 to 1 with at most three decimals",
        ),
        (
            "supervise --backoff-jitter . app",
            "--backoff-jitter: \".\" is not a number from 0 to 1 with at most three decimals",
        ),
        (
            "supervise --restart-limit 5 app",
            "--restart-limit: \"5\" is not a number of restarts in a time; write it as \"5/1m\"",
        ),
        (
            "supervise --restart-limit x/1m app",
            "--restart-limit: \"x\" is not a number of restarts; write it as \"5/1m\"",
        ),
        ("watch", "nothing to watch; name a process, or give --pid"),
        ("watch a b", "\"b\" is one word too many; options come before the name"),
        ("watch --pid 3 a", "both --pid and the name \"a\" are given; give one of them"),
        ("watch --pid 0", "--pid: \"0\" is not a process id; write a number from 1"),
        ("watch --wait 0s a", "--wait: \"0s\" is no time at all; write at least \"1ms\""),
        ("up plan.toml", "\"plan.toml\" is one word too many"),
        ("install", "no destination; name a file or a folder"),
        ("install a b", "\"b\" is one word too many"),
        ("as", "no tool is named; name one of tini, docker-init, dumb-init, catatonit, kapo"),
        ("as s6 x", "hilum does not stand in for \"s6\", only for tini, docker-init, dumb-init, catatonit, kapo"),
    ] {
        assert_eq!(refusal(line), message, "{line}");
    }
}

#[test]
fn watch_takes_a_name_or_a_pid() {
    let Command::Watch(watch) = read_line("watch --wait 1s --port 1 nginx") else { panic!("a watch") };
    assert_eq!((watch.name.to_str(), watch.pid, watch.period), (Some("nginx"), None, Span::from_secs(1)));
    assert_eq!(watch.status.listen, [tcp("0.0.0.0:1")]);
    assert_eq!(watch.status.mode, StatusMode::Watch);
    let Command::Watch(watch) = read_line("HILUM_PID=42 $ watch") else { panic!("a watch") };
    assert_eq!((watch.name.is_empty(), watch.pid, watch.period), (true, Some(42), DEFAULT_WAIT));
}

#[test]
fn plans_are_files_or_in_the_variable() {
    let plan = |line: &str| match read_line(line) {
        Command::Up(options) => (options.plan, options.implied),
        Command::Check(options) => (options.plan, options.print),
        other => panic!("{line}: {other:?}"),
    };
    let file = |path: &str| PlanSource::File(PathBuf::from(path));
    assert_eq!(plan(""), (PlanSource::Search, true));
    assert_eq!(plan("up"), (PlanSource::Search, false));
    assert_eq!(plan("up -c a=b"), (file("a=b"), false));
    assert_eq!(plan("HILUM_CONFIG=/p $ "), (file("/p"), true));
    assert_eq!(plan("HILUM_CONFIG=/p $ up --config /q"), (file("/q"), false));
    assert_eq!(plan("HILUM_CONFIG=a=1 $ check --print"), (PlanSource::Inline(String::from("a=1")), true));
    assert_eq!(read_line("install /x"), Command::Install(PathBuf::from("/x")));
}

#[test]
fn the_command_line_speaks_over_the_plan() {
    let Command::Up(options) = read_line("up -q --no-subreaper --log-orphans --drill abort --parent-death-signal TERM")
    else {
        panic!("up")
    };
    let mut process =
        ProcessLaunch { verbosity: Verbosity::Debug, drill: Some(Drill::Panic), ..ProcessLaunch::default() };
    options.process.apply(&mut process);
    assert_eq!((process.verbosity, process.drill), (Verbosity::Error, Some(Drill::Abort)));
    assert_eq!((process.subreaper, process.log_orphans, process.parent_death_signal), (false, true, 15));
    let said = process.clone();
    ProcessOptions::default().apply(&mut process);
    assert_eq!(process, said);
}

#[test]
fn a_tool_is_its_first_word_or_the_one_behind_as() {
    let argv: Vec<OsString> = ["/sbin/docker-init", "-s", "--", "app"].iter().map(OsString::from).collect();
    let linked = read(&argv, &|_| None, Facts { pid: 7 });
    assert_eq!(read_line("as docker-init -s -- app"), linked);
    assert_eq!(read_line("as -- /usr/bin/tini -s -- app"), linked);
    assert!(matches!(linked, Command::Start(launch) if launch.process.voice == hilum_config::Voice::Tini));
}

#[test]
fn versions_and_help_are_no_mistakes() {
    assert_eq!(help("--version"), format!("hilum {}\n", env!("CARGO_PKG_VERSION")));
    for line in ["--help", "-h", "help"] {
        assert_eq!(help(line), overview());
    }
    // Asked for, help comes before any mistake.
    assert!(
        help("HILUM_PORT=bad $ run --port 1 --help --bogus").starts_with("Usage: hilum run [OPTIONS] [--] COMMAND")
    );
}

#[test]
fn help_names_every_switch_its_variable_and_each_command() {
    let commands: [(&str, Vec<Group>); 8] = [
        ("init", vec![Group::of::<options::Init>(""), child_group(), reaper_group(), process_group()]),
        (
            "run",
            vec![
                Group::of::<options::Run>(""),
                status_group(),
                child_group(),
                streams_group(),
                reaper_group(),
                process_group(),
            ],
        ),
        (
            "supervise",
            vec![
                Group::of::<options::Supervise>(""),
                status_group(),
                child_group(),
                streams_group(),
                reaper_group(),
                process_group(),
            ],
        ),
        ("watch", vec![Group::of::<options::Watch>(""), status_group(), process_group()]),
        ("up", vec![Group::of::<options::Up>(""), reaper_group(), process_group()]),
        ("check", vec![Group::of::<options::Check>("")]),
        ("install", vec![Group::of::<options::Install>("")]),
        ("as", vec![Group::of::<options::As>("")]),
    ];
    for (command, groups) in commands {
        assert!(overview().contains(&format!("\n  {command} ")), "{command}");
        let text = help(&format!("{command} --help"));
        assert_eq!(text, line::describe(command, &groups));
        assert_eq!(text.matches("--help").count(), 1, "{text}");
        let mut names = Vec::new();
        for group in groups {
            assert!(
                text.contains(&format!("\n\n{}:\n", if group.title.is_empty() { "Options" } else { group.title })),
                "{text}"
            );
            for flag in group.flags() {
                let variable = line::variable(flag.long);
                assert!(
                    text.contains(&format!("  {} ", flag.long))
                        || text.contains(&format!("{}\n", flag.long))
                        || text.contains(&format!(", {} ", flag.long)),
                    "{}",
                    flag.long
                );
                assert!(flag.description.contains(&variable), "{} does not name {variable}", flag.long);
                // Wrapped, a variable must still be in one piece.
                assert!(text.contains(&variable), "{variable}");
                assert!(!names.contains(&flag.long), "{} twice", flag.long);
                names.push(flag.long);
            }
        }
        assert!(
            text.lines()
                .filter(|line| line.starts_with("  -") || line.starts_with("      "))
                .all(|line| line.chars().count() <= 80)
        );
    }
}

#[test]
fn a_service_is_named_after_its_program() {
    for (program, name) in [
        ("/bin/app", "app"),
        ("app.v2", "app.v2"),
        ("a b/c d", "c-d"),
        ("..", "command"),
        ("/", "command"),
        ("", "command"),
    ] {
        assert_eq!(service_name(&[OsString::from(program)]), name);
    }
}

/// Any words and variables at all come to an answer.
#[test]
fn nothing_panics() {
    let pieces = [
        "init",
        "run",
        "supervise",
        "watch",
        "up",
        "check",
        "install",
        "as",
        "tini",
        "dumb-init",
        "catatonit",
        "kapo",
        "--",
        "-",
        "",
        "--port",
        "-p",
        "--ttl",
        "--wait",
        "5",
        "1s",
        "0..1s",
        "..",
        "1s..",
        "--rewrite",
        "TERM:0",
        ":",
        "-r",
        "15:3",
        "-vvv",
        "-e",
        "=",
        "--=",
        "--listen",
        "[",
        "[]:1",
        "unix:",
        ":1",
        "--restart-limit",
        "1/1s",
        "/",
        "--backoff-factor",
        "1.",
        ".5",
        "\u{e9}",
        "-\u{e9}",
        "99999999999999999999",
        "app",
    ];
    let mut state: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut next = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % u64::try_from(below).unwrap()).unwrap()
    };
    for _ in 0..20_000 {
        let mut argv = vec![OsString::from(*["hilum", "tini", "dumb-init", "catatonit", "kapo"].get(next(5)).unwrap())];
        for _ in 0..next(7) {
            let mut word = pieces.get(next(pieces.len())).unwrap().as_bytes().to_vec();
            if next(8) == 0 {
                word.push(u8::try_from(1 + next(255)).unwrap());
            }
            argv.push(OsString::from_vec(word));
        }
        let value = *pieces.get(next(pieces.len())).unwrap();
        let every = 1 + next(5);
        let env = |name: &str| (every > 2 && name.len().is_multiple_of(every)).then(|| OsString::from(value));
        match read(&argv, &env, Facts { pid: 7 }) {
            Command::Start(launch) => {
                assert_eq!(launch.plan.services.len(), launch.services.len());
                assert!(launch.services.iter().all(|service| !service.command.is_empty()));
            }
            Command::Print { stdout, stderr, code } => {
                assert!(!stdout.is_empty() || !stderr.is_empty(), "{argv:?}");
                assert!(code == 0 || !stderr.is_empty(), "{argv:?}");
            }
            Command::Watch(watch) => assert!(watch.pid.is_some_and(|pid| pid > 0) || !watch.name.is_empty()),
            Command::Up(_) | Command::Check(_) | Command::Install(_) => {}
        }
    }
}
