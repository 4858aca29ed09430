//! The callback against a scripted host, and against a socket of this machine.

use std::net::UdpSocket;
use std::time::Duration;

use callback_events::CallbackEvents;
use hilum_plugin::fake::{FakeHost, Random};
use hilum_plugin::native::NativeHost;
use hilum_plugin::{Context, Event, FileError, Host, NetworkError, Reaction};

fn tell(settings: &str, event: &Event, host: &impl Host) -> Reaction {
    let context = Context { settings: settings.to_owned(), timeout_ms: 1000, attempt: 1 };
    hilum_plugin::notify::<CallbackEvents>(event, &context, host)
}

fn done() -> Reaction {
    Reaction::Done(String::new())
}

fn server() -> FakeHost {
    FakeHost::new().with_datagrams("10.0.0.9", 8125, Vec::new())
}

fn sent(host: &FakeHost) -> Vec<String> {
    host.conversations().iter().map(|c| String::from_utf8_lossy(&c.written).into_owned()).collect()
}

fn event(body: &str) -> Event {
    Event {
        name: "service.exited".to_owned(),
        id: "run-7".to_owned(),
        at: 1_800_000_000_000_000_000,
        service: Some("web".to_owned()),
        body: body.to_owned(),
    }
}

const PLAIN: &str = r#"{"host": "10.0.0.9", "port": 8125}"#;

fn settings(rest: &str) -> String {
    format!(r#"{{"host": "10.0.0.9", "port": 8125{rest}}}"#)
}

fn fails(reaction: &Reaction, said: &str) -> bool {
    matches!(reaction, Reaction::Failed(why) if why.contains(said))
}

fn retries(reaction: &Reaction, said: &str) -> bool {
    matches!(reaction, Reaction::Retry { why, .. } if why.contains(said))
}

#[test]
fn an_event_is_one_datagram_in_the_form_of_process_wrapper() {
    let host = server();
    assert_eq!(tell(PLAIN, &event(r#"{"code": 1}"#), &host), done());
    let expected = r#"{"name":"service.exited","labels":{"code":"1","event_type":"service.exited","namespace":"","node":"","pod":"","process_name":"web"},"op":"event","value":1}"#;
    assert_eq!(sent(&host), [expected]);
    assert!(host.conversations().iter().all(|c| c.closed));

    let host = server();
    let bare = Event { name: "container.stopping".to_owned(), service: None, ..event("") };
    assert_eq!(tell(PLAIN, &bare, &host), done());
    let expected = r#"{"name":"container.stopping","labels":{"event_type":"container.stopping","namespace":"","node":"","pod":""},"op":"event","value":1}"#;
    assert_eq!(sent(&host), [expected]);
}

#[test]
fn a_socket_of_this_machine_gets_it_whole() -> Result<(), Box<dyn std::error::Error>> {
    let receiver = UdpSocket::bind("127.0.0.1:0")?;
    receiver.set_read_timeout(Some(Duration::from_secs(30)))?;
    let port = receiver.local_addr()?.port();
    let host = NativeHost::new(Duration::from_secs(10)).with_grant("127.0.0.1", port);
    let settings = format!(r#"{{"host": "127.0.0.1", "port": {port}, "labels": {{"text": "{}"}}}}"#, "x".repeat(900));
    assert_eq!(tell(&settings, &event(r#"{"signal": "TERM"}"#), &host), done());
    let mut bytes = vec![0; 65_536];
    let count = receiver.recv(&mut bytes)?;
    let text = String::from_utf8_lossy(bytes.get(..count).unwrap_or_default()).into_owned();
    assert!(
        text.starts_with(r#"{"name":"service.exited","labels":{"event_type":"#) && text.contains(r#""signal":"TERM""#),
        "{text}"
    );
    assert!(text.ends_with(r#"},"op":"event","value":1}"#), "{text}");
    Ok(())
}

#[test]
fn later_labels_win() {
    let all = settings(
        r#", "labels": {"team": "given", "pod": "given", "a_b": "given", "code": "given", "event_type": "given"},
            "labels-from-env": {"pod": "HOSTNAME", "node": "NODE_NAME", "zone": "ZONE", "team": "TEAM"},
            "labels-from-file": "/labels", "exclude": ["pod-template-hash"]"#,
    );
    let file = "a-b=\"file\"\ncode=\"file\"\npod-template-hash=\"66\"\n\napp.kubernetes.io/part-of=\"shop\"\nprocess_name=\"file\"\n";
    let host = server()
        .with_file("/labels", file.as_bytes(), 0)
        .with_variable("HOSTNAME", Some("web-0"))
        .with_variable("NODE_NAME", Some("n7"))
        .with_variable("TEAM", Some("env"))
        .with_variable("ZONE", None);
    assert_eq!(tell(&all, &event(r#"{"code": 7, "event_type": "own"}"#), &host), done());
    let expected = concat!(
        r#"{"name":"service.exited","labels":{"a_b":"file","app.kubernetes.io/part_of":"shop","code":"7","#,
        r#""event_type":"service.exited","namespace":"","node":"n7","pod":"given","process_name":"web","team":"given","#,
        r#""zone":""},"op":"event","value":1}"#
    );
    assert_eq!(sent(&host), [expected]);
    let one = settings(r#", "labels-from-file": "/labels", "exclude": "a-b""#);
    let host = server().with_file("/labels", file.as_bytes(), 0);
    assert_eq!(tell(&one, &event("{}"), &host), done());
    assert!(sent(&host).iter().all(|text| !text.contains("a_b") && text.contains(r#""pod_template_hash":"66""#)));
}

#[test]
fn an_events_own_labels_are_its_simple_values() {
    let host = server();
    let body = r#"{"text": "a\"\\\n\u0001é", "true": true, "whole": -5, "half": 0.5, "none": null, "list": [1], "table": {"x": 1}, "process_name": "own"}"#;
    assert_eq!(tell(PLAIN, &event(body), &host), done());
    let expected = concat!(
        r#"{"name":"service.exited","labels":{"event_type":"service.exited","namespace":"","node":"","pod":"","#,
        r#""process_name":"own","text":"a\"\\\u000a\u0001é","true":"true","whole":"-5"},"op":"event","value":1}"#
    );
    assert_eq!(sent(&host), [expected]);
}

#[test]
fn values_of_the_file_are_read_as_they_were_meant() {
    for (line, value) in [
        (r#"k="plain""#, "plain"),
        (r#"k="""#, ""),
        (r#"k="a=b""#, "a=b"),
        (r#"k="say \"hi\" \\ there""#, r#"say \"hi\" \\ there"#),
        (r#"k="a\nb\tc\r""#, r"a\u000ab\u0009c\u000d"),
        (r#"k="\x41\u00e9\U0001f600""#, "Aé😀"),
        (r#"k="\q\x4\xzz\ud800\""#, r"\\q\\x4\\xzz\\ud800\\"),
        (r#"k="bücher""#, "bücher"),
        ("  k=\"spaces\" \r", "spaces"),
    ] {
        let host = server().with_file("/labels", line.as_bytes(), 0);
        assert_eq!(tell(&settings(r#", "labels-from-file": "/labels""#), &event(""), &host), done(), "{line}");
        let text = sent(&host).concat();
        assert!(text.contains(&format!(r#""k":"{value}""#)), "{line}: {text}");
    }
}

#[test]
fn a_file_that_is_none_of_labels_has_failed_with_the_line_and_a_missing_one_is_tried_again() {
    let from_file = settings(r#", "labels-from-file": "/labels""#);
    for (file, said) in [
        ("a=\"1\"\nno label\n", "/labels: line 2 is \"no label\"; it should be key=\"value\""),
        ("a=1", "line 1 is \"a=1\""),
        ("a=\"", "line 1 is"),
        ("=\"1\"", "line 1 is"),
        ("\u{1b}[31m", r#"line 1 is "\x1b[31m""#),
    ] {
        let host = server().with_file("/labels", file.as_bytes(), 0);
        let reaction = tell(&from_file, &event(""), &host);
        assert!(fails(&reaction, said), "{reaction:?}");
        assert!(sent(&host).is_empty());
    }
    let long = server().with_file("/labels", &vec![b'\n'; 70_000], 0);
    assert!(fails(&tell(&from_file, &event(""), &long), "/labels has more than 64 KiB"));
    for error in [
        FileError::NotFound("/labels: no such file".to_owned()),
        FileError::Forbidden("/labels: permission denied".to_owned()),
        FileError::WrongKind("/labels: a directory".to_owned()),
        FileError::TimedOut,
        FileError::Other("/labels: input/output error".to_owned()),
    ] {
        let said = format!("cannot read the labels in /labels: {error}");
        assert_eq!(tell(&from_file, &event(""), &server().with_file_error("/labels", error)), Reaction::retry(said));
    }
    assert!(fails(&tell(&from_file, &event(""), &server()), "reading /labels is not granted"));
}

#[test]
fn long_values_are_cut_and_over_long_datagrams_are_not_sent() {
    let host = server();
    let body = format!(r#"{{"text": "é{}"}}"#, "é".repeat(1000));
    assert_eq!(tell(PLAIN, &event(&body), &host), done());
    assert!(sent(&host).concat().contains(&format!("\"text\":\"{}…\"", "é".repeat(512))));
    let many: Vec<String> = (0..64).map(|number| format!(r#""label-{number:02}": "{}""#, "x".repeat(1024))).collect();
    let many = settings(&format!(r#", "labels": {{{}}}"#, many.join(", ")));
    let host = server();
    let reaction = tell(&many, &event(""), &host);
    assert!(fails(&reaction, "bytes as a datagram; at most 65507 can be sent"), "{reaction:?}");
    assert!(sent(&host).is_empty());
}

#[test]
fn an_event_whose_body_cannot_be_read_has_failed() {
    for (body, said) in [
        ("[]", "no JSON object: must be a table, not an array"),
        ("{", "no JSON object: not JSON"),
        ("{}, \"x\": {}", "no JSON object"),
        (&format!(r#"{{"x": "{}"}}"#, "x".repeat(70_000)), "has 70009 bytes; labels are taken from at most 65536"),
    ] {
        let host = server();
        let reaction = tell(PLAIN, &event(body), &host);
        assert!(fails(&reaction, said), "{body:.40}: {reaction:?}");
        assert!(sent(&host).is_empty());
    }
}

#[test]
fn trouble_on_the_way_is_tried_again_unless_the_plan_denies_it() {
    for error in [
        NetworkError::NameUnresolved("10.0.0.9: no such name".to_owned()),
        NetworkError::Refused,
        NetworkError::Unreachable("no route".to_owned()),
        NetworkError::TimedOut,
        NetworkError::Limit("16 sockets".to_owned()),
        NetworkError::Other("no buffer space".to_owned()),
    ] {
        let said = format!("cannot tell udp:10.0.0.9:8125: {error}");
        let host = FakeHost::new().with_failure("udp:10.0.0.9", 8125, error);
        assert_eq!(tell(PLAIN, &event(""), &host), Reaction::retry(said));
    }
    assert!(retries(&tell(PLAIN, &event(""), &server().with_remaining(0)), "timed out"));
    assert!(fails(&tell(PLAIN, &event(""), &FakeHost::new()), "add \"udp:10.0.0.9:8125\" to allow.connect"));
    let from_env = settings(r#", "labels-from-env": {"pod": "HOSTNAME"}"#);
    let said =
        "cannot read the variable of the label pod: reading HOSTNAME is not granted; to allow it, add \"HOSTNAME\"";
    assert!(fails(&tell(&from_env, &event(""), &server()), said));
}

#[test]
fn wrong_settings_have_failed_and_nothing_is_sent() {
    for (settings, said) in [
        ("{}", "host: missing; write host ="),
        (r#"{"host": "a"}"#, "port: missing"),
        (r#"{"host": "a", "port": 70000}"#, "port: must be a whole number from 1 to 65535"),
        (r#"{"host": "[::1]", "port": 1}"#, "is not an address or a name"),
        (r#"{"host": "a", "port": 1, "labels": ["a"]}"#, "labels: must be a table"),
        (r#"{"host": "a", "port": 1, "labels": {"a": 1}}"#, "labels.a: must be a string, not 1"),
        (r#"{"host": "a", "port": 1, "labels": {"": "x"}}"#, "a label needs a name"),
        (
            r#"{"host": "a", "port": 1, "labels-from-env": {"a": ""}}"#,
            "labels-from-env.a: \"\" is not the name of a variable",
        ),
        (r#"{"host": "a", "port": 1, "labels-from-env": {"a": "B=C"}}"#, "is not the name of a variable"),
        (r#"{"host": "a", "port": 1, "labels-from-file": "labels"}"#, "\"labels\" is not an absolute path"),
        (r#"{"host": "a", "port": 1, "exclude": "a"}"#, "exclude: is about labels-from-file, which is not set"),
        (
            r#"{"host": "a", "port": 1, "labels-from-file": "/a", "exclude": [1]}"#,
            "exclude[0]: must be a string, not 1",
        ),
        (
            r#"{"host": "a", "port": 1, "label": {}}"#,
            "label: no such key; there are host, port, labels, labels-from-env, labels-from-file, exclude",
        ),
    ] {
        let host = server();
        let reaction = tell(settings, &event(""), &host);
        assert!(fails(&reaction, said), "{settings}: {reaction:?}");
        assert!(sent(&host).is_empty());
    }
}

#[test]
fn ten_thousand_odd_files_and_bodies_make_a_whole_datagram_or_none() {
    const PIECES: &[&[u8]] = &[
        b"key=\"",
        b"\"",
        b"\n",
        b"\\",
        b"\\u00",
        b"\\x",
        b"\\U0001",
        b"=",
        b"a",
        b"-",
        b"\xff",
        "é".as_bytes(),
        b"\0",
    ];
    const JSON: &[&[u8]] =
        &[b"{", b"}", b"\"a\":", b"1", b",", b"[", b"]", b"\"x\"", b"\"\\ud800\"", b"true", b"\"b\":"];
    let mut random = Random::new();
    let from_file = settings(r#", "labels-from-file": "/labels""#);
    for _ in 0..10_000 {
        let file = random.text(PIECES, 23);
        let mut body = b"{".to_vec();
        body.extend(random.text(JSON, 23));
        body.push(b'}');
        let body = String::from_utf8_lossy(&body).into_owned();
        let host = server().with_file("/labels", &file, 0);
        let reaction = tell(&from_file, &event(&body), &host);
        let sent = sent(&host);
        let whole = match &reaction {
            Reaction::Done(_) => sent.iter().all(|text| hilum_plugin::Settings::parse(text).is_ok()),
            Reaction::Failed(_) => sent.is_empty(),
            Reaction::Retry { .. } => false,
        };
        assert!(whole, "{reaction:?}: {sent:?}");
    }
}
