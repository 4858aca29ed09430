//! What is loaded, what is refused, and what is said about it.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};

use hilum_sandbox::engine::{Target, VERSION};
use hilum_sandbox::load::{MAX_FILE, digest};
use hilum_wire::{Answer, FromSandbox, LoadFailure, PluginInfo, ToSandbox};

use crate::guest::{CONNECT, ECHO, Guest, PASS, SPIN, case, component};
use crate::worker::{MEMORY, Worker, scratch};

const GOOD: Guest = Guest::checking(PASS);

/// The failure of loading `bytes`, pinned as they are. The worker must be of use afterwards.
fn refusal(bytes: &[u8]) -> LoadFailure {
    let mut worker = Worker::start();
    let failure = worker.load_bytes(0, bytes, &[]).unwrap_err();
    worker.load(GOOD);
    assert_eq!(worker.ask("{}", 10_000).0, Answer::Pass);
    failure
}

fn assert_refused(failure: &LoadFailure, kind: &str, said: &[&str]) {
    assert_eq!(failure.kind, kind, "{failure:?}");
    for part in said {
        assert!(failure.message.contains(part), "{part:?} is not in {failure:?}");
    }
    assert!(failure.message.starts_with("cannot load plugin trial: "), "{failure:?}");
}

#[test]
fn a_pinned_plugin_says_what_it_is_and_answers() {
    let mut worker = Worker::start();
    let info = worker.load_bytes(0, &GOOD.compiled(), &[]).unwrap();
    assert_eq!(
        info,
        PluginInfo { name: "guest".to_owned(), version: "1.0".to_owned(), kinds: vec!["probe".to_owned()] }
    );
    assert_eq!(worker.ask("{}", 10_000).0, Answer::Pass);
}

#[test]
fn a_file_other_than_the_pinned_one_is_refused_whatever_changed() {
    let bytes = GOOD.compiled();
    let pinned = digest(&bytes);
    let mut flipped = bytes.clone();
    *flipped.get_mut(bytes.len() / 2).unwrap() ^= 1;
    let cut = bytes.get(..bytes.len() - 1).unwrap().to_vec();
    let longer = [bytes.clone(), vec![0]].concat();
    let mut worker = Worker::start();
    for changed in [flipped, cut, longer, Vec::new()] {
        let failure = worker.load_file(0, Some(&scratch(&changed)), Some(pinned.clone()), MEMORY, &[]).unwrap_err();
        assert_refused(&failure, "digest", &[&pinned, &digest(&changed), "pin the new digest"]);
    }
    let upper = worker.load_file(0, Some(&scratch(&bytes)), Some(pinned.to_uppercase()), MEMORY, &[]).unwrap_err();
    assert_refused(&upper, "digest", &[&pinned]);
    worker.load(GOOD);
}

#[test]
fn without_a_pin_only_a_file_that_root_alone_can_write_is_loaded() {
    let mut worker = Worker::start();
    let file = scratch(&GOOD.compiled());
    file.set_permissions(Permissions::from_mode(0o644)).unwrap();
    let loaded = worker.load_file(0, Some(&file), None, MEMORY, &[]);
    let uid = file.metadata().unwrap().uid();
    if uid == 0 {
        assert!(loaded.is_ok(), "{loaded:?}");
    } else {
        assert_refused(&loaded.unwrap_err(), "untrusted", &[&format!("belongs to uid {uid}"), "set sha256"]);
    }
    for mode in [0o664, 0o646, 0o666] {
        file.set_permissions(Permissions::from_mode(mode)).unwrap();
        let failure = worker.load_file(0, Some(&file), None, MEMORY, &[]).unwrap_err();
        assert_refused(&failure, "untrusted", &[&format!("mode 0{mode:o}"), "chmod go-w", "set sha256"]);
    }
}

#[test]
fn the_descriptor_is_read_from_its_beginning_wherever_it_stands() {
    let bytes = GOOD.compiled();
    // `scratch` leaves the offset at the end.
    let file = scratch(&bytes);
    let mut worker = Worker::start();
    for plugin in 0..3 {
        assert!(worker.load_file(plugin, Some(&file), Some(digest(&bytes)), MEMORY, &[]).is_ok());
    }
}

#[test]
fn plugins_of_the_same_file_have_its_code_together() {
    const SIZE: u64 = 2 * 1024 * 1024;
    // Bytes that are part of the code and in nobody's memory.
    let ballast = format!("(data $ballast \"{}\")", "x".repeat(usize::try_from(SIZE).unwrap()));
    let bytes = GOOD.with_fields(ballast.leak()).compiled();
    let file = scratch(&bytes);
    file.set_permissions(Permissions::from_mode(0o644)).unwrap();
    let is_root = file.metadata().unwrap().uid() == 0;
    for pin in [Some(digest(&bytes))].into_iter().chain(is_root.then_some(None)) {
        let mut worker = Worker::start();
        worker.load_file(0, Some(&file), pin.clone(), MEMORY, &[]).unwrap();
        let before = worker.resident();
        assert!(before > SIZE / 1024);
        for plugin in 1..8 {
            worker.load_file(plugin, Some(&file), pin.clone(), MEMORY, &[]).unwrap();
        }
        let more = worker.resident().saturating_sub(before);
        // The C library may keep the buffer the last file was read to.
        assert!(more < 2 * SIZE / 1024, "{more} KiB");
    }
}

#[test]
fn a_file_that_was_changed_is_loaded_anew() {
    let mut worker = Worker::start();
    let file = scratch(&GOOD.compiled());
    file.set_permissions(Permissions::from_mode(0o644)).unwrap();
    let changed = || file.metadata().map(|now| (now.uid(), now.ctime(), now.ctime_nsec())).unwrap();
    let before = changed();
    if before.0 != 0 {
        // The file of anybody else is not loaded without a pin, and a pin says what is in it.
        let other = Guest::checking(ECHO).compiled();
        assert_refused(
            &worker.load_file(0, Some(&file), Some(digest(&other)), MEMORY, &[]).unwrap_err(),
            "digest",
            &[],
        );
        return;
    }
    worker.load_file(1, Some(&file), None, MEMORY, &[]).unwrap();
    // A clock that tells the times of files goes in steps.
    while changed() == before {
        file.set_len(0).unwrap();
        file.write_all_at(&Guest::checking(ECHO).compiled(), 0).unwrap();
    }
    worker.load_file(0, Some(&file), None, MEMORY, &[]).unwrap();
    assert_eq!(worker.ask("x", 10_000).0, Answer::Fail("x".to_owned()));
}

#[test]
fn what_is_no_file_or_too_large_is_refused() {
    let mut worker = Worker::start();
    let mut load = |file: Option<&File>| worker.load_file(0, file, None, MEMORY, &[]).unwrap_err();
    assert_refused(&load(None), "io", &["no descriptor"]);
    assert_refused(&load(Some(&File::open("/").unwrap())), "io", &["not a regular file"]);
    assert_refused(&load(Some(&File::open("/dev/null").unwrap())), "io", &["not a regular file"]);
    let path = std::env::temp_dir().join(format!("hilum-write-only-{}", std::process::id()));
    fs::write(&path, "x").unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    let unreadable = File::options().write(true).open(&path).unwrap();
    fs::remove_file(&path).unwrap();
    assert_refused(&load(Some(&unreadable)), "io", &["cannot read its file"]);
    let large = scratch(b"");
    large.set_len(u64::try_from(MAX_FILE).unwrap() + 1).unwrap();
    assert_refused(&load(Some(&large)), "too-large", &["67108865 bytes", "67108864"]);
}

#[test]
fn what_is_not_precompiled_is_refused_with_the_command_that_does_it() {
    let command = format!("hilumc compile --target {}", Target::native());
    assert_refused(&refusal(&GOOD.component()), "incompatible", &["not compiled yet", &command]);
    assert_refused(&refusal(b"#!/bin/sh\n"), "incompatible", &["not a precompiled component", &command]);
    assert_refused(&refusal(b""), "incompatible", &["not a precompiled component", &command]);
    assert_refused(&refusal(&fs::read("/bin/sh").unwrap()), "incompatible", &[&command]);
}

#[test]
fn code_for_another_machine_version_or_cut_short_is_refused() {
    let command = format!("hilumc compile --target {}", Target::native());
    let foreign = if Target::native() == Target::Aarch64 { Target::X86_64 } else { Target::Aarch64 };
    let failure = refusal(&GOOD.compiled_for(foreign));
    assert_refused(&failure, "incompatible", &[&format!("compiled for {foreign}"), &command]);

    let mut older = GOOD.compiled();
    let at = older.windows(VERSION.len()).position(|part| part == VERSION.as_bytes()).unwrap();
    *older.get_mut(at + 5).unwrap() = b'7';
    assert_refused(&refusal(&older), "incompatible", &[&VERSION.replacen(".8+", ".7+", 1), VERSION, &command]);

    let bytes = GOOD.compiled();
    for len in [64, 100, 4096] {
        assert_refused(&refusal(bytes.get(..len).unwrap()), "incompatible", &[VERSION, &command]);
    }
}

#[test]
fn a_plugin_made_for_the_first_packages_works_as_it_did() {
    let mut worker = Worker::start();
    let old = Guest::checking(CONNECT).of_the_first_packages();
    let info = worker.load_bytes(0, &old.compiled(), &["127.0.0.1:*"]).unwrap();
    assert_eq!(
        info,
        PluginInfo { name: "guest".to_owned(), version: "1.0".to_owned(), kinds: vec!["probe".to_owned()] }
    );
    // Its errors are numbered as they were: denied, invalid, refused.
    assert_eq!(worker.ask("127.0.0.2", 10_000).0, Answer::Fail("e0".to_owned()));
    assert_eq!(worker.ask("a b", 10_000).0, Answer::Fail("e1".to_owned()));
    assert_eq!(worker.ask("127.0.0.1", 10_000).0, Answer::Fail("e3".to_owned()));
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = u64::from(listener.local_addr().unwrap().port());
    assert!(matches!(worker.ask("127.0.0.1", port).0, Answer::Fail(said) if said.starts_with('c')));
    assert_eq!(worker.judge(0, "{}"), Answer::Judged(Vec::new()));
    worker.load(Guest::checking(ECHO).of_the_first_packages());
    assert_eq!(worker.ask("echo", 10_000).0, Answer::Fail("echo".to_owned()));
}

#[test]
fn nothing_is_loaded_after_the_seal() {
    let mut worker = Worker::start();
    worker.load(Guest::checking(ECHO));
    worker.send(&ToSandbox::Seal);
    let FromSandbox::Sealed { refused } = worker.receive() else { panic!("not sealed") };
    // What an old kernel lacks is said; this is for those that have it all.
    assert!(refused.iter().all(|what| what.starts_with("landlock")), "{refused:?}");
    assert_eq!(worker.ask("still there", 10_000).0, Answer::Fail("still there".to_owned()));
    let failure = worker.load_bytes(1, &GOOD.compiled(), &[]).unwrap_err();
    assert_eq!(failure.kind, "sealed");
}

#[test]
fn imports_that_are_not_there_are_named() {
    let wasi = r#"(component
        (import "wasi:nn/tensor@0.2.0-rc" (instance (export "nap" (func))))
        (import "wasi:random/random@0.3.0" (instance (export "get" (func)))))"#;
    let failure = refusal(&component(wasi));
    assert_refused(
        &failure,
        "import",
        &["wasi:nn/tensor@0.2.0-rc, wasi:random/random@0.3.0", "hilum:host/tcp@0.1.0", "and WASI 0.2"],
    );

    let other =
        r#"(component (import "hilum:host/clock@0.1.0" (instance (export "remaining-ms" (func (result string))))))"#;
    assert_refused(&refusal(&component(other)), "import", &["remaining-ms", "build it against the WIT packages"]);

    assert_refused(&refusal(&component("(component)")), "incompatible", &["does not export hilum:plugin/plugin@0.1.0"]);
}

#[test]
fn grants_that_cannot_be_understood_are_refused_not_ignored() {
    let mut worker = Worker::start();
    let failure = worker.load_bytes(0, &GOOD.compiled(), &["127.0.0.1:80", "db"]).unwrap_err();
    assert_refused(&failure, "grant", &["\"db\" is not a place", "127.0.0.1:8080"]);
}

#[test]
fn a_plugin_that_fails_to_say_what_it_is_is_refused() {
    assert_refused(&refusal(&Guest::describing("(unreachable)").compiled()), "describe", &["it gave up"]);
    assert_refused(&refusal(&Guest::describing(SPIN).compiled()), "describe", &["did not answer within 2000 ms"]);
    assert_refused(&refusal(&GOOD.with_pages(64).compiled()), "describe", &["wanted 4096 KiB", "may have 1024 KiB"]);
    // Names of 64 KiB, a thousand times the same memory: 64 MiB to copy out of a guest that has one.
    let many = "(local $at i32)
        (i32.store (i32.const 88) (i32.const 1024))
        (i32.store (i32.const 92) (i32.const 800))
        (local.set $at (i32.const 1024))
        (loop $next
            (i32.store (i32.add (local.get $at) (i32.const 4)) (i32.const 60000))
            (i32.store (i32.add (local.get $at) (i32.const 24)) (i32.const 60000))
            (local.set $at (i32.add (local.get $at) (i32.const 28)))
            (br_if $next (i32.lt_u (local.get $at) (i32.const 23424))))
        (i32.const 64)";
    let many = Guest::describing(many);
    assert_refused(&refusal(&many.compiled()), "describe", &["it was stopped"]);
}

#[test]
fn describing_grants_nothing() {
    let mut worker = Worker::start();
    let probing = Guest::describing(
        "(call $connect (i32.const 256) (i32.const 5) (i32.const 80) (i32.const 512))
         ;; denied is case 0 of the error
         (if (i32.or (i32.ne (i32.load8_u (i32.const 512)) (i32.const 1)) (i32.load8_u (i32.const 516))) (then (unreachable)))
         (i32.const 64)",
    );
    assert!(worker.load_bytes(0, &probing.compiled(), &["*:*"]).is_ok());
    assert!(worker.lines.iter().any(|(level, line)| level == "warn" && line.contains("denied: connect to guest:80")));
}

#[test]
fn pulley_code_runs_beside_native_code() {
    let mut worker = Worker::start();
    worker.load_bytes(1, &Guest::checking(ECHO).compiled(), &[]).unwrap();
    worker.load_bytes(0, &Guest::checking(ECHO).compiled_for(Target::pulley()), &[]).unwrap();
    assert_eq!(worker.ask("x", 10_000).0, Answer::Fail("x".to_owned()));
    worker.load_bytes(0, &Guest::checking(SPIN).compiled_for(Target::pulley()), &[]).unwrap();
    assert!(matches!(worker.ask("", 50).0, Answer::Broken { kind, .. } if kind == "deadline"));
}

#[test]
fn a_plugin_that_is_loaded_again_has_its_new_grants_only() {
    let mut worker = Worker::start();
    let bytes = Guest::checking(CONNECT).compiled();
    worker.load_bytes(0, &bytes, &["127.0.0.1:1000"]).unwrap();
    // Port 1000 is the timeout; nobody listens there: case 3, refused.
    assert_eq!(worker.ask("127.0.0.1", 1000).0, Answer::Fail(format!("e{}", case("refused"))));
    worker.load_bytes(0, &bytes, &[]).unwrap();
    assert_eq!(worker.ask("127.0.0.1", 1000).0, Answer::Fail(format!("e{}", case("denied"))));
    assert!(worker.load_bytes(0, b"x", &[]).is_err());
    assert!(matches!(worker.ask("127.0.0.1", 10_000).0, Answer::Unknown(why) if why.contains("not loaded")));
}

#[test]
fn nothing_but_the_channel_is_needed() {
    let root = std::env::temp_dir().join(format!("hilum-empty-{}", std::process::id()));
    fs::create_dir_all(&root).unwrap();
    let is_root = fs::metadata("/proc/self").unwrap().uid() == 0;
    // Only root may change its root; any user can be any user already.
    let workers = if is_root { vec![Worker::start_in(&root), Worker::start_as(65534)] } else { vec![Worker::start()] };
    for mut worker in workers {
        worker.load(Guest::checking(ECHO));
        assert_eq!(worker.ask("here", 10_000).0, Answer::Fail("here".to_owned()));
        worker.load(Guest::checking(SPIN));
        assert!(matches!(worker.ask("", 50).0, Answer::Broken { kind, .. } if kind == "deadline"));
        worker.load_granted(Guest::checking(CONNECT), &["localhost:1000"]);
        assert_eq!(worker.ask("localhost", 1000).0, Answer::Fail(format!("e{}", case("refused"))));
        assert!(worker.hang_up().success());
    }
    fs::remove_dir(&root).unwrap();
}
