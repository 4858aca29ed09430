//! That the guest of `host_calls` does what inputs spell: every function is called, what is granted is reached, and what it leaves is nothing.
#![forbid(unsafe_code)]

use hilum_fuzz::host_calls::script::Argument::{Any, Bytes, Former, Length, List, Number, Result, Small, Text, Wide};
use hilum_fuzz::host_calls::script::{Script, functions};
use hilum_fuzz::host_calls::{Outcome, PEER_PORTS, Place, run};
use hilum_wire::Answer;

/// Time a call has: none here waits for its end, on however busy a machine. **Units:** milliseconds.
const TIMEOUT_MS: u64 = 60_000;

fn text(bytes: &str) -> hilum_fuzz::host_calls::script::Argument {
    Bytes(bytes.as_bytes().to_vec())
}

/// What came of a script the first time it ran.
fn once(script: &Script) -> Outcome {
    run(&script.0, TIMEOUT_MS).swap_remove(0)
}

/// Runs a script whose calls all come back.
fn run_to_the_end(script: &Script) -> Outcome {
    let outcome = once(script);
    assert!(outcome.calls.is_some(), "{:?}", outcome.answer);
    outcome
}

#[test]
fn every_function_is_called_and_comes_back_or_is_stopped_by_the_host() {
    let functions = functions();
    for name in ["log.write", "tcp.connect", "connection.[method]connection.read", "udp.[resource-drop]socket"] {
        assert!(functions.iter().any(|function| function == name), "{name} is not among {functions:?}");
    }
    for name in functions {
        let outcome = once(&Script::default().call(&name, &[]));
        match &outcome.answer {
            Answer::Fail(calls) => assert_eq!(calls, "0001", "{name}"),
            // There is no handle 0.
            Answer::Broken { kind, message } => {
                assert!(kind == "trap" && message.contains("handle"), "{name}: {message}");
            }
            other => panic!("{name}: {other:?}"),
        }
    }
}

#[test]
fn what_is_granted_is_reached() {
    let [tcp, udp] = PEER_PORTS;
    let connection = |method: &str| format!("connection.[method]connection.{method}");
    let script = Script::default()
        .call("log.write", &[Small(1), text("hello"), Length])
        .call("state.set", &[text("key"), Length, Small(1), text("value"), Length, Result])
        .call("metrics.gauge", &[text("level"), Length, Small(0), Small(0), Wide(1.5_f64.to_bits()), Result])
        .call("command.run", &[Text(Place::Command, Vec::new()), Length, Result])
        .call("files.write", &[Text(Place::Folder, b"/new".to_vec()), Length, text("bytes"), Length, Small(2), Result])
        .call("files.remove", &[Text(Place::File, Vec::new()), Length, Result])
        .call("tcp.connect", &[Text(Place::Address, Vec::new()), Length, Number(tcp), Result])
        .call(&connection("write"), &[Former(0), text("ping"), Length, Result])
        .call(&connection("read"), &[Small(1), Any(100), Result])
        .call("log.write", &[Small(1), Former(0), Former(2)])
        .call("udp.connect", &[Text(Place::Address, Vec::new()), Length, Number(udp), Result])
        .call("udp.[method]socket.send", &[Former(0), text("pong"), Length, Result])
        .call("udp.[method]socket.receive", &[Small(2), Any(100), Result])
        .call("log.write", &[Small(1), Former(0), Former(2)]);
    let outcome = run_to_the_end(&script);
    assert_eq!(outcome.calls, Some(14));
    assert_eq!(outcome.denied, 0, "{:?}", outcome.heard.lines);
    assert_eq!(outcome.files, ["new", "out", "sub"]);
    assert_eq!(outcome.heard.state.get("key").map(Vec::as_slice), Some(&b"value"[..]));
    assert_eq!(outcome.heard.series.values().copied().collect::<Vec<_>>(), [1.5]);
    assert_eq!(outcome.heard.commands, ["x"]);
    assert_eq!(outcome.heard.lines, ["hello", "ping", "pong"]);
}

#[test]
fn what_is_not_granted_is_denied_and_counted() {
    let script = Script::default()
        .call("files.write", &[Text(Place::Beside, b"/new".to_vec()), Length, text("bytes"), Length, Small(0), Result])
        .call("files.write", &[Text(Place::Link, b"/new".to_vec()), Length, text("bytes"), Length, Small(0), Result])
        .call("tcp.connect", &[text("192.0.2.1"), Length, Number(2), Result])
        .call("dns.resolve", &[text("example.org"), Length, Result])
        .call("environment.get", &[text("HOME"), Length, Result])
        .call("command.run", &[text("y"), Length, Result]);
    let outcome = run_to_the_end(&script);
    // The link is granted as written, and leads nowhere.
    assert_eq!((outcome.calls, outcome.denied), (Some(6), 5), "{:?}", outcome.heard.lines);
    assert_eq!(outcome.heard.lines.len(), 5);
    assert!(outcome.heard.commands.is_empty());
}

#[test]
fn limits_of_what_is_kept_and_said_are_reached_and_hold() {
    let mut script = Script::default();
    for number in 0..70_u8 {
        script = script
            .call("log.write", &[Small(0), text("line"), Length])
            .call(
                "metrics.count",
                &[
                    Bytes(vec![b'a' + number / 26, b'a' + number % 26]),
                    Length,
                    Small(0),
                    Small(0),
                    Wide(1_f64.to_bits()),
                    Result,
                ],
            )
            .call("state.set", &[Bytes(vec![b'a' + number % 4]), Length, Small(1), Any(0), Number(12), Result]);
    }
    let outcome = once(&script);
    assert_eq!((outcome.heard.lines.len(), outcome.heard.series.len()), (65, 64), "{:?}", outcome.answer);
    let kept: usize = outcome.heard.state.iter().map(|(key, value)| key.len() + value.len()).sum();
    assert!((16 << 10..=32 << 10).contains(&kept), "{kept} bytes are kept");
}

#[test]
fn scripts_of_odd_length_run_twice_and_an_instance_that_keeps_a_handle_only_once() {
    let [tcp, _] = PEER_PORTS;
    let log = |text| Script::default().call("log.write", &[Small(1), text, Length]);
    let (odd, even) = (log(text("you")), log(text("hi")));
    assert_eq!((odd.0.len() % 2, even.0.len() % 2), (1, 0));
    let told = |script: &Script| {
        run(&script.0, TIMEOUT_MS).into_iter().map(|it| (it.reused, it.calls, it.heard.lines.concat())).collect::<Vec<_>>()
    };
    assert_eq!(told(&odd), [(false, Some(1), "you".to_owned()), (true, Some(1), "you".to_owned())]);
    assert_eq!(told(&even), [(false, Some(1), "hi".to_owned())]);
    let connect = |script: Script| {
        script.call("tcp.connect", &[Text(Place::Address, Vec::new()), Length, Number(tcp), Result])
    };
    let keeping = [odd, even].map(connect).into_iter().find(|script| script.0.len() % 2 == 1).unwrap();
    assert_eq!(run(&keeping.0, TIMEOUT_MS).iter().map(|it| it.reused).collect::<Vec<_>>(), [false, false]);
}

#[test]
fn a_thousand_calls_leave_no_descriptor_open() {
    let [tcp, udp] = PEER_PORTS;
    let script = Script::default()
        .call("tcp.connect", &[Text(Place::Address, Vec::new()), Length, Number(tcp), Result])
        .call("udp.connect", &[Text(Place::Address, Vec::new()), Length, Number(udp), Result])
        .call("files.read", &[Text(Place::File, Vec::new()), Length, Wide(0), Any(100), Result])
        .call("files.list", &[Text(Place::Folder, Vec::new()), Length, Result]);
    let descriptors = || std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    run_to_the_end(&script);
    let before = descriptors();
    for _ in 0..1000 {
        run(&script.0, TIMEOUT_MS);
    }
    let after = descriptors();
    // Other tests run meanwhile.
    assert!(after < before + 50, "{after} descriptors are open, {before} were");
}

#[test]
fn lists_of_arguments_become_records() {
    // An HTTP request's record, from `method` on; what follows the content is left at zero, which is a valid case of everything.
    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok".to_vec();
    let url = Text(Place::Http, b"a".to_vec());
    let request = List(
        [vec![text("POST"), Length, url, Length, Small(0), Small(0), Bytes(answer), Length], vec![Small(0); 16]]
            .concat(),
    );
    // The first of the answer's fields is the URL that answered.
    let said = [Small(1), Former(0), Former(2)];
    let outcome = run_to_the_end(&Script::default().call("http.fetch", &[request, Result]).call("log.write", &said));
    let [line] = outcome.heard.lines.as_slice() else { panic!("{outcome:?}") };
    assert!(line.starts_with("http://127.0.0.1:") && line.ends_with("/a"), "{line}");
}
