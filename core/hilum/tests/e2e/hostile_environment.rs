//! Places where something is missing, used up or stuck: all of hilum works there, or says in one line what does not.

use std::fs;
use std::io::Read as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use hilum_sys::process::{self, Target};
use serde_json::json;

use crate::stage::boot::{eventually, pass};
use crate::stage::bundle::fill_root;
use crate::stage::failure::{Context as _, holds, same};
use crate::stage::program::need_root;
use crate::stage::{Boot, Bundle, Check, Client, DEADLINE, Failure, Folder, fixture, peek, tool};

const PIPE: u8 = 13;
const TERM: u8 = 15;
const KILL: u8 = 9;
const STOP: u8 = 19;
const CONT: u8 = 18;
const USR1: u8 = 10;

/// An empty root: hilum, the fixture, and no `/proc`, `/dev`, `/tmp` or anything else.
fn empty_root() -> Result<Folder, Failure> {
    let folder = Folder::new()?;
    fill_root(folder.path())?;
    Ok(folder)
}

fn in_empty_root(folder: &Folder, words: &[&str]) -> Boot {
    Boot::program("/hilum", words).root(&folder.path().display().to_string()).clear_variables()
}

#[test]
fn without_proc_dev_and_tmp_init_does_all_it_does() -> Check {
    let folder = empty_root()?;
    let mut init = in_empty_root(&folder, &["init", "--", "/fixture", "trap", "15:7"]).start()?;
    init.line_from("ready")?;
    init.signal(USR1)?;
    init.expect_line("signal 10")?;
    init.signal(TERM)?;
    same(format!("exit code: {}", init.stderr()), init.wait()?, 7)?;
    let done = in_empty_root(&folder, &["init", "--", "/missing"]).run()?;
    same("exit code", done.code, 127)?;
    let done = in_empty_root(&folder, &["init", "--", "/fixture", "environment"]).run()?;
    same(format!("exit code: {}", done.stdout), done.code, 0)
}

#[test]
fn without_proc_dev_and_tmp_the_status_is_served() -> Check {
    let folder = empty_root()?;
    let words = ["supervise", "--listen", "unix:/status.sock", "--", "/fixture", "trap", "15:7"];
    let mut init = in_empty_root(&folder, &words).start()?;
    init.line_from("ready")?;
    let client = Client::new(&format!("unix:{}", folder.file("status.sock")));
    client.wait_for("/readiness", 200)?;
    same("liveness", client.get("/liveness")?.status, 200)?;
    init.signal(TERM)?;
    same(format!("exit code: {}", init.stderr()), init.wait()?, 7)
}

#[test]
fn a_scratch_container_read_only_and_without_privileges_works() -> Check {
    let bundle = Bundle::new(&["/hilum", "init", "--", "/fixture", "environment"])?;
    let done = bundle.boot()?.run()?;
    same(format!("exit code: {}", done.stderr), done.code, 0)?;
    let lines: Vec<&str> = done.stdout.lines().collect();
    for line in ["ppid 1", "uid 65532", "gid 65532", "NoNewPrivs 1", "CapEff 0000000000000000"] {
        holds(format!("no line \"{line}\" in {}", done.stdout), lines.contains(&line))?;
    }
    for code in [0, 1, 42, 255] {
        let bundle = Bundle::new(&["/hilum", "init", "--", "/fixture", "exit", &code.to_string()])?;
        same("exit code", bundle.boot()?.run()?.code, code)?;
    }
    Ok(())
}

#[test]
fn a_scratch_container_forwards_stops_and_crashes_in_order() -> Check {
    let state = Folder::new()?;
    let words =
        ["/hilum", "run", "--listen", "unix:/state/s", "--drill", "fault", "--", "/fixture", "flush", "/state/file"];
    for (signal, code) in [(TERM, 0), (12, 70)] {
        let bundle = Bundle::new(&words)?.mount(&state.path().display().to_string(), "/state");
        let mut runc = bundle.boot()?.start()?;
        runc.line_from("ready")?;
        Client::new(&format!("unix:{}", state.file("s"))).wait_for("/readiness", 200)?;
        process::signal(Target::Pid(bundle.first_pid()?), signal)?;
        runc.expect_line("flushed")?;
        same(format!("exit code: {}", runc.stderr()), runc.wait()?, code)?;
        same("flushed", fs::read_to_string(state.file("file"))?.as_str(), "flushed\n")?;
        fs::remove_file(state.file("file"))?;
        // A socket that is left behind must not stand in the way of the next start.
    }
    Ok(())
}

#[test]
fn a_scratch_container_with_few_descriptors_works() -> Check {
    let limit = json!([{"type": "RLIMIT_NOFILE", "soft": 16, "hard": 16}]);
    let bundle = Bundle::new(&["/hilum", "init", "--", "/fixture", "trap", "15:3"])?.set("/process/rlimits", limit);
    let mut runc = bundle.boot()?.start()?;
    runc.line_from("ready")?;
    process::signal(Target::Pid(bundle.first_pid()?), TERM)?;
    same(format!("exit code: {}", runc.stderr()), runc.wait()?, 3)
}

#[test]
fn any_user_works_and_no_home_is_needed() -> Check {
    need_root("becoming another user")?;
    let setpriv = tool("setpriv", "util-linux")?;
    let folder = empty_root()?;
    let (hilum, fixture) = (folder.file("hilum"), folder.file("fixture"));
    for uid in ["65532", "1", "4000000000"] {
        let words = ["--reuid", uid, "--regid", uid, "--clear-groups", "--no-new-privs", "--bounding-set=-all"];
        let through: Vec<&str> = std::iter::once(setpriv.as_str()).chain(words).collect();
        let done = Boot::program(&hilum, &["init", "--", &fixture, "environment"]).through(&through).run()?;
        same(format!("exit code as {uid}: {}", done.stderr), done.code, 0)?;
        holds(format!("not {uid}: {}", done.stdout), done.stdout.lines().any(|line| line == format!("uid {uid}")))?;
    }
    Ok(())
}

#[test]
fn closed_standard_streams_are_survived_and_not_reused() -> Check {
    let shell = tool("sh", "dash")?;
    let folder = Folder::new()?;
    let file = folder.file("state");
    // Every combination of the three streams, closed.
    for closed in 1..8 {
        let mut script = String::from("exec \"$@\"");
        for (bit, redirection) in [(1, " <&-"), (2, " >&-"), (4, " 2>&-")] {
            if closed & bit != 0 {
                script.push_str(redirection);
            }
        }
        for mode in [&["init"][..], &["run", "--listen", "127.0.0.1:0"]] {
            let fixture = fixture()?;
            let words: Vec<&str> = mode.iter().copied().chain(["--", &fixture, "flush", &file]).collect();
            let mut init = Boot::hilum(&words).through(&[&shell, "-c", &script, "sh"]).ordinary().start()?;
            // With standard output closed there is no line to wait for: the service has created its file, and then blocks TERM.
            let pid = init.pid()?;
            eventually("the service waits for signals", || {
                let services = peek::children(pid).into_iter().filter_map(peek::stat);
                let mut masks = services
                    .filter(|stat| stat.name == "e2e-fixture")
                    .filter_map(|stat| peek::status(stat.pid).ok()?.get("SigBlk").cloned());
                Ok(masks.any(|mask| u64::from_str_radix(&mask, 16).is_ok_and(|mask| mask & (1 << 14) != 0))
                    && fs::exists(&file)?)
            })
            .context(format!("streams {closed:03b} closed, {mode:?}"))?;
            init.signal(TERM)?;
            same(format!("exit code, streams {closed:03b} closed, {mode:?}"), init.wait()?, 0)?;
            // A socket or signal descriptor at 1 or 2 would have got the words of the service, and the file would not be whole.
            same("flushed", fs::read_to_string(&file)?.as_str(), "flushed\n")?;
            fs::remove_file(&file)?;
        }
    }
    Ok(())
}

#[test]
fn without_streams_and_without_dev_null_there_is_still_a_start() -> Check {
    let (shell, unshare) = (tool("sh", "dash")?, tool("unshare", "util-linux")?);
    let folder = empty_root()?;
    let root = format!("--root={}", folder.path().display());
    for redirections in ["<&- >&- 2>&-", "<&-", ">&-", "2>&-"] {
        let script = format!("exec \"$@\" {redirections}");
        let words = [
            "-c", &script, "sh", &unshare, "--pid", "--fork", &root, "--", "/hilum", "init", "--", "/fixture", "exit",
            "7",
        ];
        let done = Boot::program(&shell, &words).ordinary().run()?;
        same(format!("exit code with {redirections}: {}", done.stderr), done.code, 7)?;
    }
    Ok(())
}

#[test]
fn the_descriptor_limit_is_an_error_that_names_it_or_no_problem() -> Check {
    let prlimit = tool("prlimit", "util-linux")?;
    for limit in 3..=20 {
        let option = format!("--nofile={limit}:{limit}");
        for mode in [&["init"][..], &["run", "--listen", "127.0.0.1:0"]] {
            let fixture = fixture()?;
            let words: Vec<&str> = mode.iter().copied().chain(["--", &fixture, "exit", "9"]).collect();
            let done = Boot::hilum(&words).through(&[&prlimit, &option, "--"]).ordinary().run()?;
            let said = done.stderr.contains("cannot")
                || done.stderr.contains("too few")
                || done.stderr.contains("os error 24");
            holds(
                format!("{mode:?} with {limit} descriptors: code {}, {}", done.code, done.stderr),
                done.code == 9 || (done.code != 0 && said),
            )?;
            if limit >= 16 {
                same(format!("{mode:?} with {limit} descriptors: {}", done.stderr), done.code, 9)?;
            }
        }
    }
    Ok(())
}

#[test]
fn the_process_limit_fails_one_start_and_keeps_the_rest() -> Check {
    need_root("becoming another user")?;
    let (setpriv, prlimit) = (tool("setpriv", "util-linux")?, tool("prlimit", "util-linux")?);
    let folder = empty_root()?;
    let codes = folder.write("codes", "1\n1\n1\n")?;
    fs::set_permissions(&codes, std::os::unix::fs::PermissionsExt::from_mode(0o666))?;
    // A user of its own, so that nobody else's processes count; and room for hilum, its status worker's threads and a few more.
    let uid = format!("{}", 2_000_000_000 + std::process::id());
    let as_user = [setpriv.as_str(), "--reuid", &uid, "--regid", &uid, "--clear-groups"];
    let limited: Vec<&str> = [prlimit.as_str(), "--nproc=12:12", "--"].into_iter().chain(as_user).collect();
    let (hilum, fixture) = (folder.file("hilum"), folder.file("fixture"));

    // The bomb's own children are refused; hilum still forwards, reaps, and ends.
    let mut init = Boot::program(&hilum, &["init", "--", &fixture, "bomb"]).through(&limited).start()?;
    let refused = init.line_from("refused after ")?;
    holds(format!("refused after {refused}"), refused.contains("temporarily unavailable"))?;
    init.line_from("ready")?;
    init.signal(TERM)?;
    same(format!("exit code: {}", init.stderr()), init.wait()?, 0)?;

    // hilum's own spawn is refused: a clear error.
    let none: Vec<&str> = [prlimit.as_str(), "--nproc=1:1", "--"].into_iter().chain(as_user).collect();
    let done = Boot::program(&hilum, &["init", "--", &fixture, "exit", "0"]).through(&none).run()?;
    holds(format!("code {}: {}", done.code, done.stderr), done.code != 0 && done.stderr.contains("cannot"))?;
    holds(
        format!("the limit is not named: {}", done.stderr),
        done.stderr.contains("os error 11") || done.stderr.contains("limit"),
    )
}

#[test]
fn a_full_process_table_delays_a_restart_and_does_not_end_the_supervisor() -> Check {
    need_root("becoming another user")?;
    let (setpriv, prlimit) = (tool("setpriv", "util-linux")?, tool("prlimit", "util-linux")?);
    let folder = empty_root()?;
    let uid = format!("{}", 2_000_100_000 + std::process::id());
    let as_user = [setpriv.as_str(), "--reuid", &uid, "--regid", &uid, "--clear-groups"];
    let limited: Vec<&str> = [prlimit.as_str(), "--nproc=20:20", "--"].into_iter().chain(as_user).collect();
    let (hilum, fixture) = (folder.file("hilum"), folder.file("fixture"));
    let listen = format!("unix:{}", folder.file("s"));
    let words = ["supervise", "--listen", &listen, "--wait", "50ms", "--", &fixture, "trap", "10:1"];
    let mut init = Boot::program(&hilum, &words).through(&limited).start()?;
    init.line_from("ready")?;
    let client = Client::new(&listen);
    client.wait_for("/readiness", 200)?;
    // Another program of the same user, which may have more, takes every process there is.
    let bomb: Vec<&str> = [prlimit.as_str(), "--nproc=40:40", "--"].into_iter().chain(as_user).collect();
    let mut bomb = Boot::program(&fixture, &["bomb"]).through(&bomb).ordinary().start()?;
    bomb.line_from("refused after ")?;
    bomb.line_from("ready")?;
    init.signal(USR1)?;
    init.error_line_with("spawn-failed").context("the failed start is not logged")?;
    same("liveness", client.get("/liveness")?.status, 200)?;
    bomb.signal(TERM)?;
    bomb.wait()?;
    init.line_from("ready").context("no restart once there is room")?;
    client.wait_for("/readiness", 200)?;
    init.signal(TERM)?;
    init.line_from("signal 15")?;
    init.signal(TERM)?;
    same("exit code", init.wait()?, 137)
}

#[test]
fn a_stalled_standard_error_holds_nothing_up() -> Check {
    let folder = Folder::new()?;
    let (reader, writer) = std::io::pipe()?;
    // Full to the brim before hilum writes its first byte.
    fill(&writer)?;
    let listen = format!("unix:{}", folder.file("s"));
    let fixture = fixture()?;
    let words = ["supervise", "--verbose", "--listen", &listen, "--wait", "0s", "--", &fixture, "trap", "10:1"];
    let mut init = Boot::hilum(&words).stderr(writer).start()?;
    let client = Client::new(&listen);
    for _ in 0..300 {
        init.line_from("ready")?;
        init.signal(USR1)?;
        init.expect_line("signal 10")?;
    }
    init.line_from("ready")?;
    same("liveness", client.get("/liveness")?.status, 200)?;
    let start = Instant::now();
    init.signal(TERM)?;
    init.expect_line("signal 15")?;
    init.signal(TERM)?;
    same("exit code", init.wait()?, 137)?;
    holds(format!("the end took {:?}", start.elapsed()), start.elapsed() < DEADLINE / 4)?;
    drop(reader);
    Ok(())
}

#[test]
fn a_standard_error_that_recovers_gets_the_lines_and_the_number_lost() -> Check {
    let (mut reader, writer) = std::io::pipe()?;
    let filled = fill(&writer)?;
    let words =
        ["supervise", "--verbose", "--listen", "127.0.0.1:0", "--wait", "0s", "--", &fixture()?, "trap", "10:1"];
    let mut init = Boot::hilum(&words).stderr(writer).start()?;
    for _ in 0..1_000 {
        init.line_from("ready")?;
        init.signal(USR1)?;
        init.expect_line("signal 10")?;
    }
    init.line_from("ready")?;
    let mut drained = vec![0; filled];
    reader.read_exact(&mut drained)?;
    let mut text = String::new();
    let mut buffer = [0; 4096];
    while !text.contains("event=log-dropped lines=") {
        let read = reader.read(&mut buffer)?;
        holds(format!("standard error ended after {text}"), read > 0)?;
        text.push_str(&String::from_utf8_lossy(buffer.get(..read).unwrap_or_default()));
    }
    holds(format!("the first line is cut: {text}"), text.starts_with("level="))?;
    drop(reader);
    // Nobody reads any more: EPIPE must not end it either.
    init.signal(USR1)?;
    init.line_from("ready")?;
    init.signal(TERM)?;
    init.expect_line("signal 15")?;
    init.signal(TERM)?;
    same("exit code", init.wait()?, 137)
}

#[test]
fn a_broken_standard_error_is_not_the_childs_fault() -> Check {
    // Nobody reads: each line hilum logs raises a SIGPIPE, in hilum. A child that got it would die of it.
    for mode in ["run", "supervise"] {
        let (reader, writer) = std::io::pipe()?;
        drop(reader);
        let words = [mode, "--verbose", "--listen", "127.0.0.1:0", "--", &fixture()?, "trap", "10:4", "15:0"];
        let mut init = Boot::hilum(&words).stderr(writer).start()?;
        init.line_from("ready")?;
        // What is sent from outside is forwarded all the same.
        init.signal(PIPE)?;
        init.expect_line("signal 13")?;
        init.signal(TERM)?;
        init.expect_line("signal 15")?;
        same(format!("exit code, {mode}"), init.wait()?, 0)?;
    }
    Ok(())
}

/// Fills a pipe and returns how many bytes went in; the pipe is left as blocking as it was.
fn fill(writer: &std::io::PipeWriter) -> Result<usize, Failure> {
    let size = rustix::pipe::fcntl_getpipe_size(writer)?;
    let mut all = writer.try_clone()?;
    std::io::Write::write_all(&mut all, &vec![b'.'; size])?;
    Ok(size)
}

#[test]
fn a_stopped_and_continued_process_1_does_not_catch_up_on_its_deadlines() -> Check {
    // A grace period that would be over many times during the stop.
    let folder = Folder::new()?;
    let listen = format!("unix:{}", folder.file("s"));
    let fixture = fixture()?;
    let words = ["run", "--listen", &listen, "--grace-period", "3s", "--", &fixture, "trap", "10:5"];
    let mut init = Boot::hilum(&words).start()?;
    init.line_from("ready")?;
    init.signal(TERM)?;
    init.expect_line("signal 15")?;
    let pid = init.pid()?;
    eventually("process 1 sleeps", || Ok(peek::stat(pid).is_some_and(|stat| stat.state == 'S')))?;
    init.signal(STOP)?;
    eventually("process 1 stops", || Ok(peek::stat(pid).is_some_and(|stat| stat.state == 'T')))?;
    pass(Duration::from_secs(5))?;
    init.signal(CONT)?;
    init.error_line_with("event=thawed")?;
    init.expect_line("signal 18")?;
    // The child was not killed: it still answers.
    init.signal(USR1)?;
    init.expect_line("signal 10")?;
    same(format!("exit code: {}", init.stderr()), init.wait()?, 5)
}

#[test]
fn a_container_that_is_paused_goes_on_where_it_was() -> Check {
    let words = ["/hilum", "init", "--verbose", "--grace-period", "3s", "--", "/fixture", "trap", "10:5"];
    let bundle = Bundle::new(&words)?;
    let mut runc = bundle.boot()?.start()?;
    runc.line_from("ready")?;
    let first = Target::Pid(bundle.first_pid()?);
    process::signal(first, TERM)?;
    runc.expect_line("signal 15")?;
    bundle.runc("pause")?;
    // Longer than the grace period, for everybody else.
    pass(Duration::from_secs(5))?;
    bundle.runc("resume")?;
    runc.error_line_with("event=thawed")?;
    process::signal(first, USR1)?;
    runc.expect_line("signal 10")?;
    same(format!("exit code: {}", runc.stderr()), runc.wait()?, 5)
}

#[test]
fn a_container_out_of_pids_keeps_its_services() -> Check {
    let state = Folder::new()?;
    let words = ["/hilum", "supervise", "--listen", "unix:/state/s", "--grace-period", "20s", "--", "/fixture", "bomb"];
    let bundle = Bundle::new(&words)?
        .mount(&state.path().display().to_string(), "/state")
        .set("/linux/resources", json!({"pids": {"limit": 12}}));
    let mut runc = bundle.boot()?.start()?;
    runc.line_from("refused after ")?;
    runc.line_from("ready")?;
    let client = Client::new(&format!("unix:{}", state.file("s")));
    client.wait_for("/readiness", 200)?;
    // Its successor gets the one pid that its end has freed.
    let first = bundle.first_pid()?;
    let worker =
        peek::children(first).into_iter().find(|pid| peek::stat(*pid).is_some_and(|stat| stat.name == "hilum"));
    process::signal(Target::Pid(worker.context("no status worker")?), KILL)?;
    client.wait_for("/liveness", 200)?;
    process::signal(Target::Pid(first), TERM)?;
    same(format!("exit code: {}", runc.stderr()), runc.wait()?, 0)
}

#[test]
fn a_name_that_is_not_utf_8_is_passed_on_as_it_is() -> Check {
    use std::os::unix::ffi::OsStrExt as _;
    let odd = std::ffi::OsStr::from_bytes(b"a\xff\xfeb");
    let output = Command::new(crate::stage::hilum())
        .args(["init", "--", &tool("printf", "coreutils")?, "%s"])
        .arg(odd)
        .stdin(Stdio::null())
        .output()?;
    same("output", output.stdout.as_slice(), odd.as_bytes())?;
    same("exit code", output.status.code(), Some(0))
}

#[test]
fn a_folder_that_is_gone_is_no_problem() -> Check {
    let shell = tool("sh", "dash")?;
    let folder = Folder::new()?;
    let gone = folder.file("gone");
    fs::create_dir(&gone)?;
    let script = format!("cd {gone} && rmdir {gone} && exec \"$@\"");
    let done = Boot::hilum(&["init", "--", &fixture()?, "exit", "5"]).through(&[&shell, "-c", &script, "sh"]).run()?;
    same(format!("exit code: {}", done.stderr), done.code, 5)
}

#[test]
fn a_huge_command_line_and_environment_are_passed_on() -> Check {
    let long = "x".repeat(100_000);
    let done =
        Boot::hilum(&["init", "--", &fixture()?, "arguments", &long, "", "--", "-x"]).variable("LONG", &long).run()?;
    same("code", done.code, 0)?;
    same("arguments", done.stdout, format!("{long}\n\n--\n-x"))
}
