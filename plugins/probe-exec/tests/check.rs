//! The probe against a scripted host.

use hilum_plugin::fake::FakeHost;
use hilum_plugin::{CommandError, CommandOutput, Ending, Outcome, Request};
use probe_exec::ProbeExec;

fn check(settings: &str, host: &FakeHost) -> Outcome {
    hilum_plugin::check::<ProbeExec>(&Request { settings: settings.to_owned(), timeout_ms: 1000, attempt: 1 }, host)
}

fn output(ending: Ending, stdout: &[u8], stderr: &[u8]) -> CommandOutput {
    CommandOutput { ending, stdout: stdout.to_vec(), stderr: stderr.to_vec(), cut: false }
}

fn host(result: Result<CommandOutput, CommandError>) -> FakeHost {
    FakeHost::new().with_command("look", result)
}

const LOOK: &str = r#"{"command": "look"}"#;

#[test]
fn an_expected_code_and_output_pass() {
    for (settings, code, stdout) in [
        (LOOK, 0, ""),
        (LOOK, 0, "whatever"),
        (r#"{"command": "look", "expect-exit": 3}"#, 3, ""),
        (r#"{"command": "look", "expect-exit": [0, 255]}"#, 255, ""),
        (r#"{"command": "look", "expect-output": "all is\nwell"}"#, 0, "so: all is\nwell.\n"),
        (r#"{"command": "look", "expect-exit": [1], "expect-output": "ü"}"#, 1, "ü"),
    ] {
        let host = host(Ok(output(Ending::Exited(code), stdout.as_bytes(), b"warning: old\n")));
        assert_eq!(check(settings, &host), Outcome::Pass, "{settings}");
    }
}

#[test]
fn any_other_end_fails_with_the_end_of_what_it_wrote() {
    let either = r#"{"command": "look", "expect-exit": [0, 3]}"#;
    let text = r#"{"command": "look", "expect-output": "well"}"#;
    for (settings, ran, said) in [
        (LOOK, output(Ending::Exited(1), b"", b""), "command look ended with code 1, expected 0; it wrote nothing"),
        (either, output(Ending::Exited(2), b"", b" \n"), "ended with code 2, expected 0 or 3; it wrote nothing"),
        (LOOK, output(Ending::Exited(1), b"no route\n", b""), r#"; its output ends in "no route""#),
        (LOOK, output(Ending::Exited(1), b"", b"a\nb\n"), r#"; its standard error ends in "a\nb""#),
        (LOOK, output(Ending::Exited(1), b"x", b"y"), r#"; its standard error ends in "y", its output in "x""#),
        (LOOK, output(Ending::Exited(1), b"\x1b[31m\xff", b""), r#"ends in "\x1b[31m\xff""#),
        (LOOK, output(Ending::Signaled(11), b"", b""), "was killed by signal 11 (SEGV); it wrote nothing"),
        (LOOK, output(Ending::Signaled(64), b"", b""), "was killed by signal 64;"),
        (text, output(Ending::Exited(0), b"wel", b"l"), r#"did not write "well" to its standard output; its"#),
        (text, output(Ending::Exited(0), b"", b"well"), r#"did not write "well""#),
        (text, output(Ending::Exited(1), b"well", b""), "ended with code 1"),
    ] {
        let outcome = check(settings, &host(Ok(ran.clone())));
        assert!(matches!(&outcome, Outcome::Fail(why) if why.contains(said)), "{ran:?}: {outcome:?}");
    }
}

#[test]
fn of_long_output_the_end_is_shown() {
    let long = [vec![b'x'; 60_000], b"the reason\n".to_vec()].concat();
    let outcome = check(LOOK, &host(Ok(output(Ending::Exited(1), &long, &long))));
    let said = "xthe reason\", its output in \"…x";
    assert!(matches!(&outcome, Outcome::Fail(why) if why.contains(said) && why.len() < 600), "{outcome:?}");
    let cut = CommandOutput { cut: true, ..output(Ending::Exited(1), &long, b"") };
    let outcome = check(LOOK, &host(Ok(cut)));
    assert!(matches!(&outcome, Outcome::Fail(why) if why.contains("its output (the first 64 KiB are known) ends in")));
}

#[test]
fn a_command_that_takes_too_long_fails() {
    let outcome = check(LOOK, &host(Err(CommandError::TimedOut)));
    assert_eq!(outcome, Outcome::Fail("cannot run command look to its end: timed out".to_owned()));
}

#[test]
fn what_says_nothing_about_the_service_is_unknown() {
    for (error, said) in [
        (CommandError::Failed("look: cannot execute /bin/look: No such file".to_owned()), "end: look: cannot execute"),
        (CommandError::Limit("too many commands run already".to_owned()), "too many commands"),
        (CommandError::Denied("not granted".to_owned()), "not granted"),
    ] {
        let outcome = check(LOOK, &host(Err(error)));
        assert!(matches!(&outcome, Outcome::Unknown(why) if why.contains(said)), "{outcome:?}");
    }
    let outcome = check(LOOK, &FakeHost::new());
    assert!(matches!(&outcome, Outcome::Unknown(why) if why.contains("add \"look\" to allow.exec")), "{outcome:?}");
}

#[test]
fn wrong_settings_are_unknown() {
    const NO_LINE: &str = "command: must be the NAME of a [command.NAME] of the plan, which says what to run; it is no";
    for (settings, said) in [
        ("{}", "command: missing; write command = \"NAME\", for what [command.NAME] of the plan runs"),
        (r#"{"command": ""}"#, NO_LINE),
        (r#"{"command": "look -v"}"#, NO_LINE),
        (r#"{"command": "/bin/look"}"#, NO_LINE),
        (r#"{"command": ["/bin/look"]}"#, NO_LINE),
        (r#"{"command": "look", "expect-exit": []}"#, "expect-exit: has no code in it; write expect-exit = [0]"),
        (r#"{"command": "look", "expect-exit": 256}"#, "expect-exit: must be a whole number from 0 to 255, not 256"),
        (r#"{"command": "look", "expect-exit": [0, "1"]}"#, "expect-exit[1]: must be a whole number from 0 to 255"),
        (r#"{"command": "look", "expect-exit": -1}"#, "not -1"),
        (r#"{"command": "look", "expect-output": ""}"#, "expect-output: is empty, which any output holds"),
        (r#"{"command": "look", "expect-output": 1}"#, "expect-output: must be a string, not 1"),
        (r#"{"command": "look", "args": []}"#, "args: no such key; there are command, expect-exit, expect-output"),
    ] {
        let outcome = check(settings, &host(Ok(output(Ending::Exited(0), b"", b""))));
        assert!(matches!(&outcome, Outcome::Unknown(why) if why.contains(said)), "{settings}: {outcome:?}");
    }
}
