//! The exit code is the child's, whatever it is; the few codes of hilum's own are what the documentation says.

use crate::stage::boot::Place;
use crate::stage::failure::{Failure, holds, same};
use crate::stage::{Boot, Check, Folder, fixture, program};

/// Signals whose default action ends a process.
fn fatal() -> impl Iterator<Item = u8> {
    let harmless = [17, 18, 19, 20, 21, 22, 23, 28];
    (1..=64).filter(move |number| !harmless.contains(number))
}

fn code_of_exit(place: Place, code: u8) -> Check {
    let code_word = code.to_string();
    let done = Boot::hilum(&["init", "--", &fixture()?, "exit", &code_word]).at(place).run()?;
    same(format!("exit code, {place:?}, stderr {}", done.stderr), done.code, code.into())
}

#[test]
fn every_exit_code_is_passed_on_by_process_1() -> Check {
    (0..=255).try_for_each(|code| code_of_exit(Place::First, code))
}

#[test]
fn every_exit_code_is_passed_on_by_an_ordinary_process() -> Check {
    (0..=255).try_for_each(|code| code_of_exit(Place::Ordinary, code))
}

#[test]
fn death_by_any_signal_is_128_and_its_number() -> Check {
    for number in fatal() {
        let word = number.to_string();
        let done = Boot::hilum(&["init", "--", &fixture()?, "raise", &word]).run()?;
        same(format!("exit code after signal {number}"), done.code, 128 + i32::from(number))?;
    }
    let done = Boot::hilum(&["init", "--", &fixture()?, "abort"]).run()?;
    same("exit code after abort(3)", done.code, 134)
}

#[test]
fn a_quiet_end_says_nothing() -> Check {
    let done = Boot::hilum(&["init", "--", &fixture()?, "print", "out\\n", "err\\n"]).run()?;
    same("code, stdout, stderr", (done.code, done.stdout.as_str(), done.stderr.as_str()), (0, "out", "err\n"))
}

#[test]
fn chosen_codes_become_zero_and_others_do_not() -> Check {
    let run = |options: &[&str], child: &[&str]| {
        let fixture = fixture()?;
        let words: Vec<&str> =
            ["init"].iter().chain(options).copied().chain(["--", &fixture]).chain(child.iter().copied()).collect();
        Ok::<_, crate::stage::Failure>(Boot::hilum(&words).run()?.code)
    };
    same("7 of 7", run(&["--exit-code-to-zero", "7"], &["exit", "7"])?, 0)?;
    same("8 of 7", run(&["--exit-code-to-zero", "7"], &["exit", "8"])?, 8)?;
    same("0 of 7", run(&["--exit-code-to-zero", "7"], &["exit", "0"])?, 0)?;
    same("143 of a signal", run(&["--exit-code-to-zero", "143"], &["raise", "15"])?, 0)?;
    same("255 of two", run(&["--exit-code-to-zero", "3", "--exit-code-to-zero", "255"], &["exit", "255"])?, 0)?;
    for code in 0..=255_u8 {
        let code = code.to_string();
        same(format!("{code} of itself"), run(&["--exit-code-to-zero", &code], &["exit", &code])?, 0)?;
    }
    Ok(())
}

#[test]
fn a_missing_command_is_127_and_named() -> Check {
    let folder = Folder::new()?;
    let script = executable(&folder, "script", "#!/no/such/interpreter\n")?;
    for command in ["/no/such/file", "no-such-program-anywhere", &script, "/etc/passwd/below-a-file", ""] {
        for place in [Place::First, Place::Ordinary] {
            let done = Boot::hilum(&["init", "--", command]).at(place).run()?;
            let wanted = if command.starts_with("/etc/passwd/") { [126, 127] } else { [127, 127] };
            holds(format!("code of {command:?} is {}: {}", done.code, done.stderr), wanted.contains(&done.code))?;
            holds(format!("{command:?} is not named in {}", done.stderr), done.stderr.contains(command))?;
            holds(
                format!("no reason in {}", done.stderr),
                done.stderr.contains("cannot") && done.stderr.ends_with('\n'),
            )?;
        }
    }
    Ok(())
}

#[test]
fn a_command_that_cannot_be_executed_is_126_and_named() -> Check {
    let folder = Folder::new()?;
    let plain = folder.write("plain", "just text\n")?;
    let no_format = executable(&folder, "no-format", "neither ELF nor a script\n")?;
    let directory = folder.path().display().to_string();
    for command in [plain.as_str(), &no_format, &directory] {
        let done = Boot::hilum(&["init", "--", command]).run()?;
        same(format!("code of {command}: {}", done.stderr), done.code, 126)?;
        holds(format!("{command} is not named in {}", done.stderr), done.stderr.contains(command))?;
    }
    Ok(())
}

#[test]
fn a_command_line_that_makes_no_sense_is_64_and_starts_nothing() -> Check {
    let folder = Folder::new()?;
    let marker = folder.file("started");
    let fixture = fixture()?;
    let cases: &[(&[&str], &str)] = &[
        (&["no-such-command"], "no-such-command"),
        (&["init"], "command"),
        (&["init", "--"], "command"),
        (&["init", "--no-such-option", "--", "$"], "no-such-option"),
        (&["init", "--grace-period", "10", "--", "$"], "10"),
        (&["init", "--grace-period", "--", "$"], "grace-period"),
        (&["init", "--rewrite", "TERM", "--", "$"], "TERM"),
        (&["init", "--rewrite", "NOSUCH:INT", "--", "$"], "NOSUCH"),
        (&["init", "--rewrite", "KILL:INT", "--", "$"], "KILL"),
        (&["init", "--exit-code-to-zero", "256", "--", "$"], "256"),
        (&["init", "--exit-code-to-zero", "-1", "--", "$"], "-1"),
        (&["init", "--signal-to", "everyone", "--", "$"], "everyone"),
        (&["init", "--session", "--same-group", "--", "$"], "exclude"),
        (&["run", "--port", "70000", "--", "$"], "70000"),
        (&["run", "--port", "+1", "--", "$"], "+1"),
        (&["run", "--ttl", "0s", "--", "$"], "0s"),
        (&["run", "--ttl", "5m..1m", "--", "$"], "5m..1m"),
        (&["run", "--listen", "fe80::1:80", "--", "$"], "fe80::1:80"),
        (&["supervise", "--restart-limit", "5", "--", "$"], "5"),
        (&["supervise", "--wait", "1s", "--backoff-cap", "2s", "--", "$"], "--wait"),
        (&["watch"], "watch"),
        (&["watch", "--pid", "0"], "0"),
    ];
    for (words, named) in cases {
        let mut all: Vec<&str> = words.iter().copied().filter(|word| *word != "$").collect();
        if words.last() == Some(&"$") {
            all.extend([fixture.as_str(), "flush", &marker]);
        }
        let done = Boot::hilum(&all).run()?;
        same(format!("code of {all:?}: {}", done.stderr), done.code, 64)?;
        holds(format!("{named:?} is not named by {all:?} in {}", done.stderr), done.stderr.contains(named))?;
        holds(format!("{all:?} started its command"), !std::path::Path::new(&marker).exists())?;
    }
    Ok(())
}

#[test]
fn a_wrong_variable_is_64_and_named() -> Check {
    let done = Boot::hilum(&["init", "--", &fixture()?, "exit", "0"]).variable("HILUM_GRACE_PERIOD", "soon").run()?;
    same("code", done.code, 64)?;
    holds(
        format!("not named: {}", done.stderr),
        done.stderr.contains("HILUM_GRACE_PERIOD") && done.stderr.contains("soon"),
    )
}

#[test]
fn a_plan_that_cannot_start_is_78() -> Check {
    let folder = Folder::new()?;
    let plan = folder.write("hilum.toml", "[service.web]\ncomand = [\"/app\"]\ngrace = 10\n")?;
    for words in [["up", "-c", &plan], ["check", "-c", &plan]] {
        let done = Boot::hilum(&words).run()?;
        same(format!("code of {words:?}: {}", done.stderr), done.code, 78)?;
        holds(format!("no place in {}", done.stderr), done.stderr.contains("hilum.toml:2:1"))?;
        holds(format!("not all at once: {}", done.stderr), done.stderr.contains("hilum.toml:3:1"))?;
    }
    let done = Boot::hilum(&["up", "-c", "/no/such/plan"]).run()?;
    same(format!("code without a plan: {}", done.stderr), done.code, 78)?;
    holds(format!("not named: {}", done.stderr), done.stderr.contains("/no/such/plan"))
}

/// A file that may be executed, as far as its mode goes; returns its path.
fn executable(folder: &Folder, name: &str, text: &str) -> Result<String, Failure> {
    use std::os::unix::fs::PermissionsExt as _;
    let written = folder.write(&format!("{name}.written"), text)?;
    std::fs::set_permissions(&written, std::fs::Permissions::from_mode(0o755))?;
    let path = folder.file(name);
    program::copy(written, &path)?;
    Ok(path)
}
