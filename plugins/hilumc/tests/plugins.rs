//! The tool as its users run it, on the plugins of this repository, and what it makes as the worker loads it.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a failed step is a failed test")]

mod worker;

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;
use std::thread::{self, JoinHandle};

use hilum_sandbox::engine::Target;
use hilum_sandbox::load::digest;
use hilum_wire::Answer;
use worker::Worker;

fn hilumc(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_hilumc")).args(arguments).env("RUST_BACKTRACE", "0").output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The folder with both probes, built once for all tests of a run.
fn plugins() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join("plugins");
        for name in ["probe-http", "probe-tcp"] {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name);
            let built = hilumc(&[
                "build",
                folder.to_str().unwrap(),
                "--out",
                out.to_str().unwrap(),
                "--target",
                Target::native().name(),
                "--target",
                Target::pulley().name(),
            ]);
            assert!(built.status.success(), "{}", text(&built.stderr));
            let said = text(&built.stdout);
            assert_eq!(said.lines().count(), 3, "{said}");
        }
        out
    })
}

fn component(name: &str) -> String {
    plugins().join(format!("{name}.wasm")).to_str().unwrap().to_owned()
}

fn precompiled(name: &str, target: Target) -> PathBuf {
    plugins().join(format!("{name}.{target}.cwasm"))
}

/// A server on a port of its own that gives every connection the same answer.
struct Server {
    port: u16,
    listener: TcpListener,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    fn start(answer: &'static str) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let accepting = listener.try_clone().unwrap();
        let thread = thread::spawn(move || {
            for stream in accepting.incoming() {
                let mut stream = stream.unwrap();
                let mut head = Vec::new();
                let mut byte = [0];
                while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|count| count == 1) {
                    head.extend(byte);
                }
                // The test's own way to say that it is over.
                if head == b"end" {
                    return;
                }
                let _ = stream.write_all(answer.as_bytes());
            }
        });
        Server { port, listener, thread: Some(thread) }
    }

    fn url(&self) -> String {
        format!("{{\"url\": \"http://127.0.0.1:{}/healthz\", \"expect-body\": \"well\"}}", self.port)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        TcpStream::connect(self.listener.local_addr().unwrap()).unwrap().write_all(b"end").unwrap();
        self.thread.take().unwrap().join().unwrap();
    }
}

const WELL: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nall \r\n4\r\nwell\r\n0\r\n\r\n";

#[test]
fn check_says_what_a_plugin_is_and_what_to_grant() {
    let checked = hilumc(&["check", &component("probe-http")]);
    let report = text(&checked.stdout);
    assert!(checked.status.success(), "{}", text(&checked.stderr));
    for line in [
        "name       probe-http",
        "version    0.1.0",
        "imports    hilum:host/tcp@0.1.0",
        "exports    hilum:probe/probe@0.1.0",
        "[plugin.probe-http]\npath = \"probe-http.cwasm\"",
        "# connect: to be filled in: host and port of `url`\n",
        "allow = { connect = [], files = [] }",
    ] {
        assert!(report.contains(line), "{line:?} is not in:\n{report}");
    }
    assert!(!report.contains("wasi:"), "{report}");
}

#[test]
fn plugins_import_hilum_only_and_are_small() {
    for (name, component_limit, compiled_limit) in [("probe-http", 120_000, 400_000), ("probe-tcp", 80_000, 300_000)] {
        let size = |path: &Path| fs::metadata(path).unwrap().len();
        let (component, compiled) = (size(Path::new(&component(name))), size(&precompiled(name, Target::X86_64)));
        assert!(component <= component_limit && compiled <= compiled_limit, "{name}: {component}, {compiled}");
    }
}

#[test]
fn call_ends_with_the_answer() {
    let server = Server::start(WELL);
    let place = format!("127.0.0.1:{}", server.port);
    let call = |settings: &str, more: &[&str]| {
        let component = component("probe-http");
        let output = hilumc(&[&["call", &component, "--settings", settings], more].concat());
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let (code, said, _) = call(&server.url(), &["--connect", &place]);
    assert!(code == Some(0) && said.starts_with("pass ("), "{said}");
    let sick = server.url().replace("well", "sick");
    let (code, said, _) = call(&sick, &["--connect", &place]);
    assert!(
        code == Some(1) && said.contains("the body does not contain \"sick\"; it begins with \"all well\""),
        "{said}"
    );
    let (code, said, log) = call(&server.url(), &[]);
    assert!(code == Some(2) && said.contains("allow.connect"), "{said}");
    assert!(log.contains(&format!("warn: denied: connect to {place}")), "{log}");
    let (code, said, _) = call("{\"url\": \"https://localhost\"}", &[]);
    assert!(code == Some(2) && said.contains("add \"localhost:443\" to allow.connect"), "{said}");
    let (code, said, _) = call(&server.url(), &["--connect", &place, "--memory-kib", "64"]);
    assert!(code == Some(3) && said.contains("memory"), "{said}");
    let repeated = ["--connect", &place, "--repeat", "5"];
    let (code, said, _) = call(&server.url(), &[&repeated[..], &["--reuse-instances"]].concat());
    assert!(code == Some(0) && said.contains("\n4 of the calls were served by an instance that had"), "{said}");
    let (code, said, _) = call(&server.url(), &repeated);
    assert!(code == Some(0) && !said.contains("instance"), "{said}");
    let (code, _, refused) = call(&server.url(), &["--connect", "here"]);
    assert!(code == Some(64) && refused.contains("\"here\" is not a place"), "{refused}");
}

#[test]
fn files_that_are_no_components_are_refused_with_a_reason() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("not-components");
    fs::create_dir_all(&folder).unwrap();
    let good = fs::read(component("probe-tcp")).unwrap();
    let mut cases: Vec<(Vec<u8>, &str)> = vec![
        (Vec::new(), "not WebAssembly"),
        (b"\0asm".to_vec(), "not WebAssembly"),
        (b"\0asm\x02\0\0\0".to_vec(), "version this hilumc does not know"),
        (b"\0asm\x01\0\0\0".to_vec(), "core module, not a component"),
        (b"\0asm\x0d\0\x01\0".to_vec(), "does not export hilum:plugin/plugin@0.1.0"),
        (fs::read(precompiled("probe-tcp", Target::native())).unwrap(), "precompiled already"),
        (good.get(..good.len() / 2).unwrap().to_vec(), "cannot compile component"),
    ];
    // Random bytes behind a good beginning, and good bytes with one of them changed; from a fixed seed.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for _ in 0..10 {
        let noise = (0..200).flat_map(|_| random().to_le_bytes());
        cases.push(([b"\0asm\x0d\0\x01\0".to_vec(), noise.collect()].concat(), ""));
    }
    for (index, (bytes, said)) in cases.iter().enumerate() {
        let path = folder.join(format!("{index}.wasm"));
        fs::write(&path, bytes).unwrap();
        for command in ["check", "call"] {
            let output = hilumc(&[command, path.to_str().unwrap()]);
            let error = text(&output.stderr);
            assert_eq!(output.status.code(), Some(64), "{command} {index}: {error}");
            assert!(
                error.starts_with("hilumc: ") && error.contains(said) && error.lines().count() == 1,
                "{command} {index}: {error}"
            );
        }
    }
    let missing = hilumc(&["check", "/no/such/file.wasm"]);
    assert!(
        text(&missing.stderr).starts_with("hilumc: cannot read /no/such/file.wasm: No such file"),
        "{}",
        text(&missing.stderr)
    );
    let folder = hilumc(&["build", "/"]);
    assert!(text(&folder.stderr).contains("there is no Cargo.toml"), "{}", text(&folder.stderr));
}

#[test]
fn changed_components_never_crash_the_tool() {
    let good = fs::read(component("probe-tcp")).unwrap();
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("changed.wasm");
    for step in 0..24 {
        let mut bytes = good.clone();
        let at = good.len() * step / 24;
        *bytes.get_mut(at).unwrap() ^= 0x55;
        fs::write(&path, &bytes).unwrap();
        let output = hilumc(&["check", path.to_str().unwrap()]);
        assert!(matches!(output.status.code(), Some(0 | 64)), "byte {at}: {output:?}");
        assert!(!text(&output.stderr).contains("panicked"), "byte {at}: {output:?}");
    }
}

#[test]
fn compile_writes_the_same_bytes_as_build_for_every_target() {
    for target in Target::ALL {
        let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("again.{target}.cwasm"));
        let compiled =
            hilumc(&["compile", &component("probe-tcp"), "--target", target.name(), "-o", out.to_str().unwrap()]);
        assert!(compiled.status.success(), "{}", text(&compiled.stderr));
        let bytes = fs::read(&out).unwrap();
        assert_eq!(Target::of(&bytes), Some(target));
        assert!(text(&compiled.stdout).starts_with(&digest(&bytes)));
        if target == Target::native() || target == Target::pulley() {
            assert!(bytes == fs::read(precompiled("probe-tcp", target)).unwrap(), "{target}");
        }
    }
    let unknown = hilumc(&["compile", &component("probe-tcp"), "--target", "riscv64"]);
    assert!(!unknown.status.success() && text(&unknown.stderr).contains("riscv64 machines run pulley64"));
}

#[test]
fn the_worker_probes_a_real_server_with_native_and_pulley_code() {
    let server = Server::start(WELL);
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let quiet = silent.local_addr().unwrap().port();
    for target in [Target::native(), Target::pulley()] {
        let path = precompiled("probe-http", target);
        let mut worker = Worker::load(&path, 4 * 1024 * 1024, &["127.0.0.1:*"], &[]);
        assert_eq!((worker.info().name.as_str(), worker.info().version.as_str()), ("probe-http", "0.1.0"));
        assert_eq!(worker.judge(&server.url()), []);
        assert_eq!(worker.judge("{\"url\": 1}").len(), 1);
        for _ in 0..50 {
            assert_eq!(worker.check(&server.url(), 10_000), Answer::Pass);
        }
        let late = worker.check(&format!("{{\"url\": \"http://127.0.0.1:{quiet}/\"}}"), 2000);
        assert!(matches!(&late, Answer::Fail(why) if why.contains("did not answer in time")), "{late:?}");
        drop(silent.accept().unwrap());
        worker.end();
    }
}
