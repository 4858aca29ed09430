//! The probe against a scripted host.

use hilum_plugin::fake::{FakeHost, Random, Step};
use hilum_plugin::{NetworkError, Outcome, Request};
use probe_dns::ProbeDns;

fn check(settings: &str, host: &FakeHost) -> Outcome {
    hilum_plugin::check::<ProbeDns>(&Request { settings: settings.to_owned(), timeout_ms: 1000, attempt: 1 }, host)
}

fn fails_with(outcome: &Outcome, said: &str) -> bool {
    matches!(outcome, Outcome::Fail(why) if why.contains(said))
}

/// A server that answers by UDP with these datagrams.
fn server(datagrams: Vec<Vec<u8>>) -> FakeHost {
    let steps = datagrams.into_iter().map(Step::Send).chain([Step::Hang]).collect();
    FakeHost::new().with_remaining(1000).with_datagrams("10.0.0.2", 53, steps)
}

const A: u16 = 1;
const NS: u16 = 2;
const CNAME: u16 = 5;
const PTR: u16 = 12;
const MX: u16 = 15;
const TXT: u16 = 16;
const AAAA: u16 = 28;
const SRV: u16 = 33;

/// The id that the fake host's chance makes.
const ID: u16 = 1;
/// An answer, recursion wanted and done.
const ANSWER: u16 = 0x8180;

fn name(text: &str) -> Vec<u8> {
    let labels = text.split('.').filter(|label| !label.is_empty());
    let mut bytes: Vec<u8> =
        labels.flat_map(|label| [&[u8::try_from(label.len()).unwrap_or(255)], label.as_bytes()].concat()).collect();
    bytes.push(0);
    bytes
}

fn record(owner: &[u8], kind: u16, data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(data.len()).unwrap_or(u16::MAX);
    [owner, &kind.to_be_bytes(), &[0, 1, 0, 0, 0, 60], &length.to_be_bytes(), data].concat()
}

fn header(id: u16, flags: u16, questions: u16, answers: u16) -> Vec<u8> {
    [id, flags, questions, answers, 0, 0].iter().flat_map(|field| field.to_be_bytes()).collect()
}

fn message(id: u16, flags: u16, asked: (&str, u16), records: &[Vec<u8>]) -> Vec<u8> {
    let count = u16::try_from(records.len()).unwrap_or(u16::MAX);
    let mut bytes = header(id, flags, 1, count);
    bytes.extend(name(asked.0));
    bytes.extend(asked.1.to_be_bytes());
    bytes.extend([0, 1]);
    bytes.extend(records.concat());
    bytes
}

/// The name in the question.
const ASKED: &[u8] = &[0xc0, 12];

fn answer(kind: u16, data: &[&[u8]]) -> Vec<u8> {
    let records: Vec<Vec<u8>> = data.iter().map(|data| record(ASKED, kind, data)).collect();
    message(ID, ANSWER, ("web.example", kind), &records)
}

const WEB: &str = r#"{"name": "web.example", "server": "10.0.0.2"}"#;

fn settings(rest: &str) -> String {
    format!(r#"{{"name": "web.example", "server": "10.0.0.2:53"{rest}}}"#)
}

#[test]
fn an_answer_with_a_record_passes_and_the_question_is_right() {
    let host = server(vec![answer(A, &[&[192, 0, 2, 1]])]);
    assert_eq!(check(WEB, &host), Outcome::Pass);
    let asked = host.conversations().first().map(|c| (c.written.clone(), c.closed));
    let question = b"\0\x01\x01\0\0\x01\0\0\0\0\0\x01\x03web\x07example\0\0\x01\0\x01\0\0\x29\x04\xd0\0\0\0\0\0\0";
    assert_eq!(asked, Some((question.to_vec(), true)));
}

#[test]
fn records_of_every_type_are_compared_as_people_write_them() {
    for (kind, word, data, wanted) in [
        (A, "A", vec![192, 0, 2, 1], "192.0.2.1"),
        (AAAA, "AAAA", [&[0x20, 1, 0x0d, 0xb8][..], &[0; 11], &[1]].concat(), "2001:DB8:0::1"),
        (CNAME, "CNAME", name("Host.Example"), "host.example."),
        (NS, "NS", name("ns1.example"), "NS1.example"),
        (MX, "MX", [&[0, 10][..], &name("mail.example")].concat(), "10  Mail.example."),
        (SRV, "srv", [&[0, 0, 0, 5, 0x15, 0x38][..], &name("db.example")].concat(), "0 5 5432 db.example"),
        (TXT, "TXT", b"\x05v=abc\x04 DEF".to_vec(), "v=abc DEF"),
        (TXT, "TXT", b"\x02\xff\0".to_vec(), r"\\xff\\x00"),
    ] {
        let host = server(vec![answer(kind, &[&data])]);
        let all = settings(&format!(r#", "type": "{word}", "expect": ["{wanted}"]"#));
        assert_eq!(check(&all, &host), Outcome::Pass, "{word}");
        let other = settings(&format!(r#", "type": "{word}""#));
        assert_eq!(check(&other, &server(vec![answer(kind, &[&data])])), Outcome::Pass, "{word}");
    }
    for (address, asked) in [
        ("192.0.2.1", "1.2.0.192.in-addr.arpa"),
        ("2001:db8::1", "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa"),
    ] {
        let host = server(vec![message(ID, ANSWER, (asked, PTR), &[record(ASKED, PTR, &name("web.example"))])]);
        let settings =
            format!(r#"{{"name": "{address}", "type": "PTR", "server": "10.0.0.2", "expect": "web.example"}}"#);
        assert_eq!(check(&settings, &host), Outcome::Pass, "{address}");
    }
}

#[test]
fn aliases_are_followed_and_other_names_do_not_count() {
    let address = &[192, 0, 2, 1];
    let chain = [
        record(&name("c.example"), A, address),
        record(&name("b.example"), CNAME, &name("c.example")),
        record(ASKED, CNAME, &name("B.example")),
    ];
    let asked = ("web.example", A);
    assert_eq!(check(WEB, &server(vec![message(ID, ANSWER, asked, &chain)])), Outcome::Pass);
    let circle = [
        record(ASKED, CNAME, &name("b.example")),
        record(&name("b.example"), CNAME, ASKED),
        record(&name("b.example"), CNAME, &name("b.example")),
    ];
    let outcome = check(WEB, &server(vec![message(ID, ANSWER, asked, &circle)]));
    assert!(fails_with(&outcome, "no data"), "{outcome:?}");
    let other = [record(&name("other.example"), A, address), record(ASKED, TXT, b"\x01x")];
    let outcome = check(WEB, &server(vec![message(ID, ANSWER, asked, &other)]));
    assert!(fails_with(&outcome, "asked 10.0.0.2:53 for A of web.example: no data"), "{outcome:?}");
}

#[test]
fn refusals_fail_with_their_word() {
    for (code, said) in [
        (1, "FORMERR: it does not understand"),
        (2, "SERVFAIL: it could not find out"),
        (3, "NXDOMAIN: there is no such name"),
        (4, "NOTIMP"),
        (5, "REFUSED: it does not answer us"),
        (9, "NOTAUTH"),
        (15, "code 15"),
    ] {
        let whole = message(ID, ANSWER | code, ("web.example", A), &[]);
        let outcome = check(WEB, &server(vec![whole]));
        assert!(fails_with(&outcome, said), "{outcome:?}");
        // Without the question.
        let outcome = check(WEB, &server(vec![header(ID, ANSWER | code, 0, 0)]));
        assert!(fails_with(&outcome, said), "{outcome:?}");
    }
}

#[test]
fn a_server_that_does_not_know_extensions_is_asked_without() {
    let old = message(ID, ANSWER | 1, ("web.example", A), &[]);
    let host = server(vec![old]);
    assert!(fails_with(&check(WEB, &host), "FORMERR"));
    let lengths: Vec<usize> = host.conversations().iter().map(|c| c.written.len()).collect();
    assert_eq!(lengths, [40, 29]);
}

#[test]
fn fewer_records_than_asked_for_and_missing_ones_fail_with_those_that_came() {
    let two: &[&[u8]] = &[&[192, 0, 2, 1], &[192, 0, 2, 2]];
    let ask = |rest: &str| check(&settings(rest), &server(vec![answer(A, two)]));
    assert_eq!(ask(r#", "min-records": 2, "expect": ["192.0.2.2", "192.0.2.1"]"#), Outcome::Pass);
    assert_eq!(ask(r#", "expect": "192.0.2.2""#), Outcome::Pass);
    let outcome = ask(r#", "min-records": 3"#);
    assert!(fails_with(&outcome, "2 of at least 3 records: \"192.0.2.1\", \"192.0.2.2\""), "{outcome:?}");
    let outcome = ask(r#", "expect": ["192.0.2.1", "192.0.2.9"]"#);
    assert!(fails_with(&outcome, "\"192.0.2.9\" not there; it has \"192.0.2.1\", \"192.0.2.2\""), "{outcome:?}");
    let many: Vec<Vec<u8>> = (0..=255_u8).map(|last| vec![192, 0, 2, last]).collect();
    let many: Vec<&[u8]> = many.iter().map(Vec::as_slice).collect();
    let host = server(vec![answer(A, &many)]);
    let outcome = check(&settings(r#", "expect": "192.0.3.1""#), &host);
    // What is longer than a datagram is cut by the host, as by the network.
    assert!(fails_with(&outcome, "broken"), "{outcome:?}");
}

#[test]
fn answers_to_something_else_are_passed_over() {
    let good = answer(A, &[&[192, 0, 2, 1]]);
    let stray = || {
        vec![
            message(ID + 1, ANSWER, ("web.example", A), &[record(ASKED, A, &[6, 6, 6, 6])]),
            message(ID, ANSWER, ("evil.example", A), &[record(ASKED, A, &[6, 6, 6, 6])]),
            message(ID, ANSWER, ("web.example", AAAA), &[record(ASKED, AAAA, &[6; 16])]),
            message(ID, 0x0100, ("web.example", A), &[record(ASKED, A, &[6, 6, 6, 6])]),
            message(ID, ANSWER | 0x2800, ("web.example", A), &[]),
            header(ID, ANSWER, 0, 0),
            b"\0\x01\x81".to_vec(),
        ]
    };
    let late = server([stray(), vec![good]].concat());
    assert_eq!(check(&settings(r#", "expect": "192.0.2.1""#), &late), Outcome::Pass);
    let outcome = check(WEB, &server(stray()));
    assert!(fails_with(&outcome, "no answer in time, but 7 datagrams that do not answer this question"), "{outcome:?}");
    let outcome = check(WEB, &server([stray(), stray(), stray()].concat()));
    assert!(fails_with(&outcome, "more than 16 datagrams came that do not"), "{outcome:?}");
}

fn framed(message: &[u8]) -> Vec<u8> {
    [&u16::try_from(message.len()).unwrap_or(u16::MAX).to_be_bytes()[..], message].concat()
}

#[test]
fn what_is_too_long_for_a_datagram_is_asked_for_by_tcp() {
    let cut = || message(ID, ANSWER | 0x0200, ("web.example", A), &[]);
    let good = framed(&answer(A, &[&[192, 0, 2, 1]]));
    let host = server(vec![cut()]).with_peer("10.0.0.2", 53, vec![Step::Send(good.clone())]);
    assert_eq!(check(WEB, &host), Outcome::Pass);
    assert_eq!(host.conversations().len(), 2);
    let outcome = check(WEB, &server(vec![cut()]));
    let said = "the answer is too long for UDP, and connect to 10.0.0.2:53 is not granted; to allow it";
    assert!(matches!(&outcome, Outcome::Unknown(why) if why.contains(said)), "{outcome:?}");

    let by_tcp = settings(r#", "transport": "tcp""#);
    let tcp = |steps| FakeHost::new().with_remaining(1000).with_peer("10.0.0.2", 53, steps);
    let dripped = vec![Step::Drip { bytes: good.clone(), every_ms: 1 }, Step::Hang];
    for steps in [vec![Step::Send(good.clone()), Step::Hang], dripped] {
        assert_eq!(check(&by_tcp, &tcp(steps)), Outcome::Pass);
    }
    for (steps, said) in [
        (Vec::new(), "it closed the connection after 0 bytes of an answer"),
        (vec![Step::Send(good.iter().take(9).copied().collect())], "it closed the connection after 9 bytes"),
        (vec![Step::Send(vec![0xff, 0xff, 0]), Step::Hang], "no answer in time, only 3 bytes of it"),
        (vec![Step::Reset], "closed by the peer"),
        (vec![Step::Send(framed(b""))], "it answered something else: \"\""),
        (vec![Step::Send(framed(b"SSH-2.0"))], "it answered something else: \"SSH-2.0\""),
        (vec![Step::Send(framed(&cut()))], "its answer is cut, though TCP has room"),
        (
            vec![Step::Send(framed(&message(7, ANSWER, ("web.example", A), &[])))],
            "it answered something else: \"\\x00\\x07",
        ),
    ] {
        let outcome = check(&by_tcp, &tcp(steps));
        assert!(fails_with(&outcome, said), "{outcome:?}, not {said}");
    }
    let many: Vec<Vec<u8>> = (0..512_u16).map(|_| vec![192, 0, 2, 1]).collect();
    let many: Vec<&[u8]> = many.iter().map(Vec::as_slice).collect();
    let outcome = check(
        &settings(r#", "transport": "tcp", "expect": "192.0.2.7""#),
        &tcp(vec![Step::Send(framed(&answer(A, &many)))]),
    );
    assert!(fails_with(&outcome, "and 504 more"), "{outcome:?}");
    let more = [many.as_slice(), &[&[192, 0, 2, 1]]].concat();
    let outcome = check(&by_tcp, &tcp(vec![Step::Send(framed(&answer(A, &more)))]));
    assert!(fails_with(&outcome, "it has 513 records; at most 512 are looked at"), "{outcome:?}");
}

#[test]
fn broken_answers_fail_with_what_is_wrong() {
    let one = |record: Vec<u8>| message(ID, ANSWER, ("web.example", A), &[record]);
    let long_name = [vec![63], vec![b'x'; 63]].concat().repeat(4);
    for (bytes, said) in [
        (header(ID, ANSWER, 1, 0), "ends within a record, after 12 bytes"),
        (one(record(&[0xc0, 29], A, &[1, 2, 3, 4])), "a name points forward"),
        (one(record(&[0xc0, 0xff], A, &[1, 2, 3, 4])), "a name points forward"),
        (one(record(&[0x80, 0], A, &[1, 2, 3, 4])), "a part of an unknown kind"),
        (one(record(&long_name, A, &[1, 2, 3, 4])), ""),
        (one(record(&[&long_name[..], &[0]].concat(), A, &[1, 2, 3, 4])), "more than 255 bytes"),
        (one(record(ASKED, A, &[1, 2, 3])), "a record of type A is broken"),
        (one(record(ASKED, A, &[1, 2, 3, 4, 5])), "a record of type A is broken"),
        (one(record(ASKED, A, &[]).into_iter().rev().skip(1).rev().collect()), "ends within a record"),
        (message(ID, ANSWER, ("web.example", A), &[]).into_iter().chain([9]).collect(), "no data"),
        ([header(ID, ANSWER, 1, 65_535), name("web.example"), vec![0, 1, 0, 1]].concat(), "it has 65535 records"),
        ([header(ID, ANSWER, 1, 1), vec![0xc0, 12, 0, 1, 0, 1]].concat(), "a name points forward"),
    ] {
        let outcome = check(WEB, &server(vec![bytes]));
        assert!(fails_with(&outcome, said), "{outcome:?}, not {said}");
    }
    for (kind, word, data) in [
        (TXT, "TXT", b"\x05ab".to_vec()),
        (MX, "MX", vec![0]),
        (MX, "MX", vec![0, 10, 1]),
        (SRV, "SRV", vec![0, 0, 0, 0, 0]),
        (CNAME, "CNAME", [name("a"), vec![0]].concat()),
        (AAAA, "AAAA", vec![0; 15]),
    ] {
        let outcome = check(&settings(&format!(r#", "type": "{word}""#)), &server(vec![answer(kind, &[&data])]));
        assert!(fails_with(&outcome, &format!("a record of type {word} is broken")), "{outcome:?}");
    }
}

#[test]
fn a_server_that_does_not_answer_fails() {
    assert!(fails_with(&check(WEB, &server(Vec::new())), "asked 10.0.0.2:53 for A of web.example: no answer in time"));
    let refused = FakeHost::new().with_failure("udp:10.0.0.2", 53, NetworkError::Refused);
    assert!(fails_with(&check(WEB, &refused), "cannot ask 10.0.0.2:53 by UDP: connection refused"));
    let unreachable = FakeHost::new().with_failure("10.0.0.2", 53, NetworkError::Unreachable("no route".to_owned()));
    let by_tcp = settings(r#", "transport": "tcp""#);
    assert!(fails_with(&check(&by_tcp, &unreachable), "cannot ask 10.0.0.2:53 by TCP: no route"));
}

#[test]
fn without_a_server_the_machines_first_is_asked() {
    let settings = r#"{"name": "web.example"}"#;
    let host = server(vec![answer(A, &[&[192, 0, 2, 1]])]).with_dns_servers(&["10.0.0.2", "10.0.0.3"]);
    assert_eq!(check(settings, &host), Outcome::Pass);
    let outcome = check(settings, &server(Vec::new()));
    assert!(
        matches!(&outcome, Outcome::Unknown(why) if why.contains("asks no DNS server; write server")),
        "{outcome:?}"
    );
}

#[test]
fn servers_are_addresses_or_names_with_or_without_a_port() {
    for (text, host, port) in [
        ("10.0.0.2", "10.0.0.2", 53),
        ("10.0.0.2:5353", "10.0.0.2", 5353),
        ("2001:db8::1", "2001:db8::1", 53),
        ("[2001:db8::1]", "2001:db8::1", 53),
        ("[2001:db8::1]:5353", "2001:db8::1", 5353),
        ("localhost:5353", "localhost", 5353),
        ("ns.example", "ns.example", 53),
    ] {
        let steps = vec![Step::Send(answer(A, &[&[192, 0, 2, 1]]))];
        let fake = FakeHost::new().with_datagrams(host, port, steps);
        let settings = format!(r#"{{"name": "Web.Example.", "server": "{text}"}}"#);
        assert_eq!(check(&settings, &fake), Outcome::Pass, "{text}");
    }
}

#[test]
fn what_the_server_is_not_to_blame_for_is_unknown() {
    let outcome = check(WEB, &FakeHost::new());
    let said = "add \"udp:10.0.0.2:53\" to allow.connect";
    assert!(matches!(&outcome, Outcome::Unknown(why) if why.contains(said)), "{outcome:?}");
    let by_tcp = settings(r#", "transport": "tcp""#);
    assert!(
        matches!(check(&by_tcp, &FakeHost::new()), Outcome::Unknown(why) if why.contains("\"10.0.0.2:53\" to allow"))
    );
    let long = "a".repeat(64);
    let longer = "a.".repeat(127);
    for (settings, said) in [
        ("{}", "name: missing; write name = \"web.example\""),
        (r#"{"name": 1}"#, "name: must be a string"),
        (r#"{"name": ""}"#, "name: \"\" is empty"),
        (r#"{"name": "a..b"}"#, "two dots in a row"),
        (r#"{"name": ".a"}"#, "two dots in a row or one at its beginning"),
        (r#"{"name": "a b"}"#, "has spaces"),
        (r#"{"name": "bücher.example"}"#, "write its xn-- form"),
        (&format!(r#"{{"name": "{long}"}}"#), "a part of more than 63"),
        (&format!(r#"{{"name": "{longer}a"}}"#), "more than 253 characters"),
        (r#"{"name": "10.0.0.1"}"#, "\"10.0.0.1\" is an address; write a name, or type = \"PTR\""),
        (r#"{"name": "a", "type": "ANY"}"#, "type: \"ANY\" cannot be asked for; write one of A, AAAA, CNAME, MX"),
        (r#"{"name": "a", "server": "10.0.0.2:0"}"#, "server: \"10.0.0.2:0\" is no server; write \"10.0.0.2:53\""),
        (r#"{"name": "a", "server": "10.0.0.2:+5"}"#, "is no server"),
        (r#"{"name": "a", "server": "10.0.0.2:99999"}"#, "is no server"),
        (r#"{"name": "a", "server": "[::1"}"#, "is no server"),
        (r#"{"name": "a", "server": "[x]:53"}"#, "is no server"),
        (r#"{"name": "a", "server": "[::1]x"}"#, "is no server"),
        (r#"{"name": "a", "server": ""}"#, "is no server"),
        (r#"{"name": "a", "server": "a b"}"#, "is no server"),
        (r#"{"name": "a", "expect": "x"}"#, "expect: \"x\" is no A record; write one such as \"192.0.2.1\""),
        (r#"{"name": "a", "expect": ["1.2.3.4", "::1"]}"#, "expect[1]: \"::1\" is no A record"),
        (r#"{"name": "a", "expect": [5]}"#, "expect[0]: must be a string, not 5"),
        (r#"{"name": "a", "type": "AAAA", "expect": "1.2.3.4"}"#, "is no AAAA record"),
        (r#"{"name": "a", "type": "MX", "expect": "mail.example"}"#, "is no MX record; write one such as \"10 mail"),
        (r#"{"name": "a", "type": "SRV", "expect": "0 5 x db"}"#, "is no SRV record"),
        (r#"{"name": "a", "type": "NS", "expect": "a b"}"#, "is no NS record"),
        (r#"{"name": "a", "min-records": 0}"#, "min-records: must be a whole number from 1 to 256, not 0"),
        (r#"{"name": "a", "transport": "tls"}"#, "transport: \"tls\" is no way to ask; write \"udp\" or \"tcp\""),
        (
            r#"{"name": "a", "nmae": "b"}"#,
            "nmae: no such key; there are name, type, server, expect, min-records, transport",
        ),
    ] {
        let host = FakeHost::new();
        let outcome = check(settings, &host);
        assert!(matches!(&outcome, Outcome::Unknown(why) if why.contains(said)), "{settings}: {outcome:?}");
        assert!(host.conversations().is_empty());
    }
}

#[test]
fn ten_thousand_damaged_answers_neither_pass_nor_panic() {
    let host = name("host.example");
    // What is expected is several bytes away.
    let scripts = [
        (r#", "expect": "77.78.79.80""#, answer(A, &[&[192, 0, 2, 1], &[192, 0, 2, 2]])),
        (r#", "type": "MX", "expect": "7777 mail.example""#, answer(MX, &[&[&[0, 10][..], &host].concat()])),
        (r#", "type": "TXT", "expect": "seventy-seven""#, answer(TXT, &[b"\x05v=abc\x04 DEF"])),
        (
            r#", "expect": "77.78.79.80""#,
            message(
                ID,
                ANSWER,
                ("web.example", A),
                &[record(ASKED, CNAME, &host), record(&[0xc0, 41], A, &[192, 0, 2, 1])],
            ),
        ),
    ];
    let mut random = Random::new();
    for _ in 0..2500 {
        for (rest, good) in &scripts {
            let mut bytes = good.clone();
            for _ in 0..=random.below(4) {
                // Where a name goes on: a pointer to somewhere in the first 512 bytes.
                random.damage(&mut bytes, |random| vec![0xc0 | (random.byte() & 1), random.byte()]);
            }
            let shown = bytes.escape_ascii().to_string();
            let outcome = check(&settings(rest), &server(vec![bytes.clone()]).with_peer("10.0.0.2", 53, Vec::new()));
            assert!(matches!(outcome, Outcome::Fail(_)), "{shown}: {outcome:?}");
            let by_tcp = settings(&format!(r#"{rest}, "transport": "tcp""#));
            let host = FakeHost::new().with_peer("10.0.0.2", 53, random.steps(&framed(&bytes)));
            assert!(matches!(check(&by_tcp, &host), Outcome::Fail(_)), "{shown}");
        }
    }
}
