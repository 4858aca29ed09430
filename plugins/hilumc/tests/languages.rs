//! Plugins in every language but Rust: begun by hilumc, tested by their own tests, built by their real toolchains, and called by the worker
//! as hilum calls them. The worked examples of `plugins/examples` are built the same way and ask real servers.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a failed step is a failed test")]

mod worker;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output};
use std::thread;
use std::time::{Duration, Instant};

use hilum_wire::Answer;
use wit_component::DecodedWasm;
use worker::Worker;

/// What a plan gives a plugin that says nothing of memory. **Units:** bytes.
const DEFAULT_MEMORY: u64 = 4 << 20;

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn hilumc(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hilumc"));
    command.current_dir(folder).env("RUST_BACKTRACE", "0");
    command
}

/// Runs to the end, which must be a good one. Returns standard output.
fn run(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(status.success(), "{command:?}: {}{}", text(&stdout), text(&stderr));
    text(&stdout)
}

/// The refusal of a command that must fail.
fn refusal(command: &mut Command) -> String {
    let Output { status, stderr, .. } = command.output().unwrap();
    assert_eq!(status.code(), Some(64), "{command:?}");
    text(&stderr)
}

/// An empty folder of this test's own.
fn empty(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("languages").join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// A fresh plugin.
fn begun(test: &str, language: &str) -> PathBuf {
    let name = format!("probe-{language}");
    let folder = empty(test);
    run(hilumc(&folder).args(["new", "--lang", language, &name]));
    folder.join(name)
}

/// A copy of an example, links followed, as its author would have it.
fn example(language: &str) -> PathBuf {
    let folder = empty("examples").with_file_name(format!("example-{language}"));
    let _ = fs::remove_dir_all(&folder);
    run(Command::new("cp")
        .arg("-rL")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples").join(language))
        .arg(&folder));
    folder
}

/// A tool of these tests in `target/tools`, and how it gets there.
fn tool(path: &str, install: &str) -> PathBuf {
    let tool = Path::new(env!("CARGO_TARGET_TMPDIR")).join("../tools").join(path);
    assert!(tool.exists(), "{} is missing; run: {install}", tool.display());
    tool.canonicalize().unwrap()
}

fn node_modules(folder: &Path) {
    let install =
        "npm install --prefix target/tools/js componentize-qjs@0.4.5 @bytecodealliance/componentize-js@0.23.0";
    symlink(tool("js/node_modules", install), folder.join("node_modules")).unwrap();
}

fn environment(folder: &Path) {
    let install = "python3 -m venv target/tools/python && target/tools/python/bin/pip install componentize-py==0.25.1";
    tool("python/bin/componentize-py", install);
    symlink(tool("python", install), folder.join(".venv")).unwrap();
}

/// Builds the plugin in `folder`. Returns the component and the precompiled file.
fn built(folder: &Path) -> (PathBuf, PathBuf) {
    let said = run(hilumc(folder).arg("build"));
    let paths: Vec<&str> = said.lines().filter_map(|line| line.split("  ").nth(1)).collect();
    match paths.as_slice() {
        [component, compiled] => (PathBuf::from(component), PathBuf::from(compiled)),
        _ => panic!("{said}"),
    }
}

fn size(path: &Path) -> u64 {
    fs::metadata(path).unwrap().len()
}

/// What a component imports beyond hilum's own interfaces.
fn beyond(component: &Path) -> Vec<String> {
    let DecodedWasm::Component(resolve, world) = wit_component::decode(&fs::read(component).unwrap()).unwrap() else {
        panic!("{component:?} is no component");
    };
    let imports = resolve.worlds.get(world).unwrap().imports.keys().map(|key| resolve.name_world_key(key));
    imports.filter(|name| !name.starts_with("hilum:host/")).collect()
}

/// A service that gives each connection one of the answers, in order, once it has been asked something.
fn service(answers: &'static [&'static str]) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for answer in answers {
            let mut stream = listener.accept().unwrap().0;
            assert!(stream.read(&mut [0; 4096]).unwrap() > 0);
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    port
}

/// What the probe of every template does, as the worker sees it.
fn asks_for_pong(name: &str, compiled: &Path, memory: u64) {
    let port = service(&["+PONG\r\n", "-BUSY\r\n"]);
    let mut worker = Worker::load(compiled, memory, &["127.0.0.1:*"], &[]);
    assert_eq!((worker.info().name.as_str(), worker.info().version.as_str()), (name, "0.1.0"));
    let settings = format!("{{\"host\": \"127.0.0.1\", \"port\": {port}}}");
    assert_eq!(worker.check(&settings, 5000), Answer::Pass);
    let busy = worker.check(&settings, 5000);
    assert!(matches!(&busy, Answer::Fail(why) if why.contains("-BUSY") && why.contains("not +PONG")), "{busy:?}");
    // The service has ended.
    let gone = worker.check(&settings, 5000);
    assert!(matches!(&gone, Answer::Fail(why) if why.contains("nobody listens there")), "{gone:?}");
    let denied = worker.check(&settings.replace("127.0.0.1", "127.0.0.2"), 5000);
    assert!(matches!(&denied, Answer::Unknown(why) if why.contains("allow.connect")), "{denied:?}");
    assert_eq!(worker.judge(&settings), []);
    assert_eq!(worker.judge("{\"host\": \"db\", \"port\": 0}").len(), 1);
    // A peer that says nothing costs the call's time and no more.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let settings = format!("{{\"host\": \"127.0.0.1\", \"port\": {}}}", silent.local_addr().unwrap().port());
    let late = worker.check(&settings, 3000);
    assert!(matches!(&late, Answer::Fail(why) if why.contains("did not answer in time")), "{late:?}");
    worker.end();
}

#[test]
fn a_probe_begun_in_c_is_tested_built_and_called_within_one_mebibyte() {
    let folder = begun("c", "c");
    let cc = [
        "-g",
        "-Wall",
        "-Wextra",
        "-Werror",
        "-fsanitize=address,undefined",
        "-Ibindings",
        "-o",
        "test",
        "test.c",
        "probe.c",
    ];
    run(Command::new("cc").args(cc).current_dir(&folder));
    assert_eq!(run(&mut Command::new(folder.join("test"))), "ok\n");
    let (component, compiled) = built(&folder);
    assert_eq!(beyond(&component), [""; 0]);
    assert!(size(&component) < 60_000 && size(&compiled) < 200_000, "{} {}", size(&component), size(&compiled));
    asks_for_pong("probe-c", &compiled, 1 << 20);
}

#[test]
fn the_same_c_in_another_folder_gives_the_same_bytes() {
    let (one, other) = (begun("c-one", "c"), begun("c-other", "c"));
    assert!(fs::read(built(&one).0).unwrap() == fs::read(built(&other).0).unwrap());
}

#[test]
fn a_core_module_of_any_toolchain_becomes_the_same_component() {
    let folder = begun("module", "c");
    let (component, _) = built(&folder);
    let module = folder.join("probe-c.wasm");
    fs::copy(folder.join("target/guest/probe-c.module.wasm"), &module).unwrap();
    let out = folder.join("out");
    run(hilumc(&folder).args(["build", "probe-c.wasm", "--out", "out"]));
    assert!(fs::read(out.join("probe-c.wasm")).unwrap() == fs::read(&component).unwrap());
    let over = refusal(hilumc(&folder).args(["build", "probe-c.wasm", "--out", "."]));
    assert!(over.contains("it is what is built; name another --out"), "{over}");
    let again = refusal(hilumc(&folder).args(["build", "out/probe-c.wasm"]));
    assert!(again.contains("it is a component already; hilumc compile"), "{again}");
    fs::write(&module, b"\0asm\x01\0\0\0").unwrap();
    let bare = refusal(hilumc(&folder).args(["build", "probe-c.wasm"]));
    assert!(bare.contains("it exports no interface of hilum's"), "{bare}");
}

#[test]
fn c_that_prints_needs_no_wasi_and_c_that_opens_files_gets_it() {
    let folder = begun("wasi", "c");
    let source = fs::read_to_string(folder.join("probe.c")).unwrap();
    let with = |line: &str| {
        let marked = "exports_hilum_probe_probe_request_free(request);";
        assert!(source.contains(marked));
        fs::write(folder.join("probe.c"), source.replace(marked, &format!("{marked} {line}"))).unwrap();
        built(&folder).0
    };
    assert_eq!(beyond(&with("puts(\"asked\");")), [""; 0]);
    let wasi = beyond(&with("fclose(fopen(\"/etc/hosts\", \"r\"));"));
    assert!(wasi.iter().any(|name| name.starts_with("wasi:filesystem/")), "{wasi:?}");
}

#[test]
fn a_probe_begun_in_javascript_is_tested_built_and_called_within_the_default_memory() {
    let folder = begun("js", "js");
    run(Command::new("node").arg("--test").current_dir(&folder));
    node_modules(&folder);
    let (component, compiled) = built(&folder);
    assert_eq!(beyond(&component), [""; 0]);
    assert!(size(&component) < 1_300_000 && size(&compiled) < 4_500_000, "{} {}", size(&component), size(&compiled));
    asks_for_pong("probe-js", &compiled, DEFAULT_MEMORY);
}

#[test]
fn the_same_javascript_runs_on_spidermonkey_where_package_json_asks_for_it() {
    let folder = begun("js-spidermonkey", "js");
    node_modules(&folder);
    let package = fs::read_to_string(folder.join("package.json")).unwrap();
    let package =
        package.replace("\"componentize-qjs\": \"0.4.5\"", "\"@bytecodealliance/componentize-js\": \"0.23.0\"");
    fs::write(folder.join("package.json"), package).unwrap();
    let (component, compiled) = built(&folder);
    assert_eq!(beyond(&component), [""; 0]);
    assert!(size(&component) > 8_000_000);
    asks_for_pong("probe-js", &compiled, 16 << 20);
}

#[test]
fn a_probe_begun_in_python_is_tested_built_and_called() {
    let folder = begun("python", "python");
    run(Command::new("python3").args(["-m", "unittest"]).current_dir(&folder));
    environment(&folder);
    let (component, compiled) = built(&folder);
    assert_eq!(beyond(&component), [""; 0]);
    assert!(size(&component) < 20_000_000 && size(&compiled) < 40_000_000, "{} {}", size(&component), size(&compiled));
    asks_for_pong("probe-python", &compiled, 16 << 20);
}

/// A server that ends with the test.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_example_in_c_asks_a_real_memcached_for_its_version() {
    let (component, compiled) = built(&example("c"));
    assert_eq!(beyond(&component), [""; 0]);
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let started = Command::new("memcached").args(["-u", "nobody", "-l", "127.0.0.1", "-p", &port.to_string()]).spawn();
    let server = Server(started.unwrap_or_else(|error| panic!("memcached: {error}; run: apt-get install memcached")));
    let mut worker = Worker::load(&compiled, 1 << 20, &["127.0.0.1:*"], &[]);
    let settings = |more: &str| format!("{{\"host\": \"127.0.0.1\", \"port\": {port}{more}}}");
    let began = Instant::now();
    while worker.check(&settings(""), 5000) != Answer::Pass {
        assert!(began.elapsed() < Duration::from_secs(20), "memcached does not come up");
        thread::yield_now();
    }
    assert_eq!(worker.check(&settings(", \"at-least\": \"1.4\""), 5000), Answer::Pass);
    let old = worker.check(&settings(", \"at-least\": \"99.1\""), 5000);
    assert!(matches!(&old, Answer::Fail(why) if why.contains("older than 99.1")), "{old:?}");
    assert_eq!(worker.judge("{\"host\": \"a\", \"socket\": \"/b\"}").len(), 1);
    drop(server);
    let gone = worker.check(&settings(""), 5000);
    assert!(matches!(&gone, Answer::Fail(why) if why.contains("nobody listens there")), "{gone:?}");
    worker.end();
}

#[test]
fn the_example_in_javascript_looks_into_a_json_document() {
    const PAGE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 32\r\n\r\n{\"queue\": {\"n/m\": [7, \"\u{fc}\u{20ac}\"]}}\n";
    let folder = example("js");
    node_modules(&folder);
    let (component, compiled) = built(&folder);
    assert_eq!(beyond(&component), [""; 0]);
    let mut worker = Worker::load(&compiled, DEFAULT_MEMORY, &["127.0.0.1:*"], &[]);
    let port = service(&[PAGE, PAGE, PAGE, PAGE, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n<>"]);
    let mut check = |more: &str| worker.check(&format!("{{\"url\": \"http://127.0.0.1:{port}/\", {more}}}"), 5000);
    assert_eq!(check("\"pointer\": \"/queue/n~1m/0\", \"at-least\": 7, \"at-most\": 7"), Answer::Pass);
    assert_eq!(check("\"pointer\": \"/queue/n~1m/1\", \"equals\": \"\u{fc}\u{20ac}\""), Answer::Pass);
    for (settings, said) in [
        ("\"pointer\": \"/queue/n~1m/0\", \"at-most\": 6", "is 7, more than 6"),
        ("\"pointer\": \"/queue/length\"", "/queue/length of http://127.0.0.1"),
        ("\"pointer\": \"\"", "sent no JSON"),
        ("\"pointer\": \"\"", "nobody listens there"),
    ] {
        let answer = check(settings);
        assert!(matches!(&answer, Answer::Fail(why) if why.contains(said)), "{answer:?}");
    }
    assert_eq!(worker.judge("{\"url\": \"ftp://x\", \"pointer\": \"x\", \"at-most\": \"1\"}").len(), 3);
    worker.end();
}

#[test]
fn the_example_in_python_reads_the_end_of_a_log() {
    let folder = example("python");
    environment(&folder);
    let (component, compiled) = built(&folder);
    assert_eq!(beyond(&component), [""; 0]);
    let log = folder.join("app.log");
    fs::write(&log, "ERROR long ago\n".to_owned() + &"INFO all is well\n".repeat(30)).unwrap();
    let mut worker = Worker::load(&compiled, 16 << 20, &[], &[&log]);
    let settings = format!("{{\"path\": {log:?}, \"bad\": \"^(ERROR|FATAL)\\\\b\", \"quiet\": 3600}}");
    assert_eq!(worker.check(&settings, 5000), Answer::Pass);
    fs::OpenOptions::new().append(true).open(&log).unwrap().write_all(b"FATAL out of \xff luck\n").unwrap();
    let bad = worker.check(&settings, 5000);
    assert!(matches!(&bad, Answer::Fail(why) if why.contains("the last is: FATAL out of \u{fffd} luck")), "{bad:?}");
    let silent = settings.replace("3600", "1");
    fs::File::options().append(true).open(&log).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
    let quiet = worker.check(&silent, 5000);
    assert!(matches!(&quiet, Answer::Fail(why) if why.contains("nothing was written")), "{quiet:?}");
    fs::remove_file(&log).unwrap();
    let gone = worker.check(&settings, 5000);
    assert!(matches!(&gone, Answer::Fail(why) if why.contains("there is no")), "{gone:?}");
    let other = worker.check("{\"path\": \"/etc/passwd\"}", 5000);
    assert!(matches!(&other, Answer::Unknown(why) if why.contains("allow.files")), "{other:?}");
    assert_eq!(worker.judge("{\"path\": \"x\", \"bad\": \"(\", \"lines\": 0}").len(), 3);
    worker.end();
}

#[test]
fn nothing_is_written_over_and_nothing_half() {
    let folder = empty("new");
    let new = |arguments: &[&str]| refusal(hilumc(&folder).arg("new").args(arguments));
    fs::create_dir_all(folder.join("probe-taken/src")).unwrap();
    fs::write(folder.join("probe-file"), "mine").unwrap();
    for name in ["probe-taken", "probe-file"] {
        let taken = new(&["--lang", "c", name]);
        assert!(taken.contains(&format!("cannot begin {name}: it is there already")), "{taken}");
    }
    let bad = new(&["--lang", "c", "../Probe"]);
    assert!(bad.contains("\"../Probe\" cannot be a plugin's name; write lower case letters"), "{bad}");
    let kind = new(&["--lang", "c", "--kind", "sensor", "probe-x"]);
    assert!(kind.contains("kind \"sensor\""), "{kind}");
    let language = hilumc(&folder).args(["new", "--lang", "go", "probe-x"]).output().unwrap();
    assert!(!language.status.success() && text(&language.stderr).contains("write rust, c, js or python"));
    // Something of the user's is where it would be put together.
    fs::create_dir(folder.join("probe-x.new")).unwrap();
    fs::write(folder.join("probe-x.new/mine"), "mine").unwrap();
    let aside = new(&["--lang", "python", "probe-x"]);
    assert!(aside.contains("cannot make folder probe-x.new"), "{aside}");
    assert!(folder.join("probe-x.new/mine").is_file());
    let mut left: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["probe-file", "probe-taken", "probe-x.new"]);
    // An empty folder is as good as none.
    fs::create_dir(folder.join("probe-empty")).unwrap();
    run(hilumc(&folder).args(["new", "--lang", "js", "probe-empty"]));
    assert!(folder.join("probe-empty/wit/deps/probe/probe.wit").is_file() && !folder.join("probe-empty.new").exists());
}

#[test]
fn a_missing_toolchain_is_named_with_the_way_to_get_it() {
    let folder = empty("without");
    for language in ["c", "js", "python"] {
        run(hilumc(&folder).args(["new", "--lang", language, &format!("probe-{language}")]));
    }
    let build = |language: &str| {
        let mut command = hilumc(&folder);
        command.args(["build", &format!("probe-{language}")]).env_remove("WASI_SDK_PATH");
        command
    };
    for (language, said) in [
        (
            "c",
            "no wasi-sdk, zig or clang was found; Debian: apt-get install clang lld wasi-libc libclang-rt-dev-wasm32",
        ),
        ("js", "cannot run node: No such file or directory (os error 2); Debian: apt-get install nodejs npm"),
        ("python", "/.venv/bin/pip install componentize-py==0.25.1 (Debian: apt-get install python3-venv)"),
    ] {
        let refused = refusal(build(language).env("PATH", "/nowhere"));
        assert!(refused.contains(said) && refused.lines().count() == 1, "{refused}");
    }
    let package = refusal(&mut build("js"));
    assert!(package.contains("componentize-qjs is not installed there; run: npm install --prefix "), "{package}");
    let sdk = refusal(build("c").env("WASI_SDK_PATH", "/nowhere"));
    assert!(sdk.contains("there is no /nowhere/bin/clang; correct or unset it"), "{sdk}");
    fs::write(folder.join("probe-c/wit/world.wit"), "package local:plugin;\nworld plugin { import nothing:here/x; }\n")
        .unwrap();
    let wit = refusal(&mut build("c"));
    assert!(wit.contains("cannot read") && wit.contains("wit for world \"plugin\""), "{wit}");
    fs::write(folder.join("probe-python/plugin.toml"), "name = \"probe-x\"\n").unwrap();
    let language = refusal(&mut build("python"));
    assert!(language.contains("write language = \"c\", \"js\" or \"python\""), "{language}");
}
