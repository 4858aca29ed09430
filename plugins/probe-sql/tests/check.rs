//! The probe against scripted servers.

use hilum_plugin::fake::{FakeHost, Random, Step};
use hilum_plugin::{NetworkError, Outcome, Request, TlsOptions, Trust};
use probe_sql::ProbeSql;
use sha2::{Digest, Sha256};

/// In no message, ever.
const PASSWORD: &str = "tr0ub4dor";

fn check(settings: &str, host: &FakeHost) -> Outcome {
    let outcome =
        hilum_plugin::check::<ProbeSql>(&Request { settings: settings.to_owned(), timeout_ms: 1000, attempt: 1 }, host);
    if let Outcome::Fail(why) | Outcome::Unknown(why) = &outcome {
        assert!(!why.contains(PASSWORD), "{why}");
        assert!(why.len() <= 1024, "cut by the host: {why}");
        assert!(!why.contains(char::is_control), "{why:?}");
    }
    assert!(host.conversations().iter().all(|conversation| conversation.closed));
    outcome
}

fn peer(steps: Vec<Step>) -> FakeHost {
    FakeHost::new().with_remaining(1000).with_peer("127.0.0.1", 7, steps)
}

fn settings(kind: &str, more: &str) -> String {
    format!(
        r#"{{"kind": "{kind}", "host": "127.0.0.1", "port": 7, "username": "probe", "password": "{PASSWORD}"{more}}}"#
    )
}

fn my(more: &str, bytes: &[u8]) -> Outcome {
    check(&settings("mysql", more), &peer(vec![Step::Send(bytes.to_vec())]))
}

fn pg(more: &str, bytes: &[u8]) -> Outcome {
    check(&settings("postgresql", more), &peer(vec![Step::Send(bytes.to_vec())]))
}

#[track_caller]
fn assert_fails(outcome: &Outcome, said: &str) {
    assert!(matches!(outcome, Outcome::Fail(why) if why.contains(said)), "{said}: {outcome:?}");
}

#[track_caller]
fn assert_unknown(outcome: &Outcome, said: &str) {
    assert!(matches!(outcome, Outcome::Unknown(why) if why.contains(said)), "{said}: {outcome:?}");
}

fn written(host: &FakeHost) -> Vec<u8> {
    host.conversations().into_iter().flat_map(|conversation| conversation.written).collect()
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

// What a MySQL server says.

fn packet(sequence: u8, body: &[u8]) -> Vec<u8> {
    let [low, middle, high, _] = u32::try_from(body.len()).unwrap_or_default().to_le_bytes();
    [&[low, middle, high, sequence], body].concat()
}

const NONCE: &[u8; 20] = b"abcdefghijklmnopqrst";

fn greeting(method: &str) -> Vec<u8> {
    greeting_of(method, 0xf7)
}

/// A greeting of a server that offers TLS.
fn greeting_tls(method: &str) -> Vec<u8> {
    greeting_of(method, 0xff)
}

/// `capabilities` are the second eight of them; among those is TLS.
fn greeting_of(method: &str, capabilities: u8) -> Vec<u8> {
    let body = [
        b"\x0a8.0.36\0\x2a\0\0\0".as_slice(),
        b"abcdefgh\0\xff",
        &[capabilities],
        b"\x2d\x02\0\xff\xdf\x15\0\0\0\0\0\0\0\0\0\0",
        b"ijklmnopqrst\0",
        method.as_bytes(),
        b"\0",
    ];
    packet(0, &body.concat())
}

const OK: &[u8] = b"\0\0\0\x02\0\0\0";
const END: &[u8] = b"\xfe\0\0\x02\0";

fn my_error(code: u16, state: &str, text: &str) -> Vec<u8> {
    [b"\xff".as_slice(), &code.to_le_bytes(), b"#", state.as_bytes(), text.as_bytes()].concat()
}

/// A row of a text result; no value is longer than 250 bytes.
fn my_row(values: &[Option<&str>]) -> Vec<u8> {
    let value = |value: &Option<&str>| match value {
        None => vec![0xfb],
        Some(text) => [&[u8::try_from(text.len()).unwrap_or_default()], text.as_bytes()].concat(),
    };
    values.iter().flat_map(value).collect()
}

/// A result of two columns.
fn my_result(rows: &[&[Option<&str>]]) -> Vec<u8> {
    const COLUMN: &[u8] = b"\x03def\0\0\0\x01a\0\x0c\x2d\0\x01\0\0\0\xfd\0\0\0\0\0";
    let mut bodies: Vec<Vec<u8>> = vec![vec![2], COLUMN.to_vec(), COLUMN.to_vec(), END.to_vec()];
    bodies.extend(rows.iter().map(|row| my_row(row)));
    bodies.push(END.to_vec());
    numbered(&bodies)
}

fn numbered(bodies: &[Vec<u8>]) -> Vec<u8> {
    bodies.iter().zip(1u8..).flat_map(|(body, sequence)| packet(sequence, body)).collect()
}

fn my_login() -> Vec<u8> {
    [greeting("mysql_native_password"), packet(2, OK)].concat()
}

const ROWS: &[&[Option<&str>]] = &[&[Some("monolith"), Some("10.0.0.1")], &[Some("payments"), None]];

fn my_script() -> Vec<u8> {
    [my_login(), my_result(ROWS)].concat()
}

// What a PostgreSQL server says.

fn message(kind: u8, parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    let length = u32::try_from(body.len() + 4).unwrap_or_default();
    [&[kind], length.to_be_bytes().as_slice(), &body].concat()
}

fn asks(method: u8, more: &[u8]) -> Vec<u8> {
    message(b'R', &[&[0, 0, 0, method], more])
}

/// Accepts, and everything between that and the first query.
fn pg_accepted() -> Vec<u8> {
    [
        asks(0, b""),
        message(b'S', &[b"server_version\x0015.8\0"]),
        message(b'K', &[b"\0\0\0\x01\0\0\0\x02"]),
        message(b'N', &[b"SNOTICE\0C00000\0Mhello\0\0"]),
        message(b'Z', &[b"I"]),
    ]
    .concat()
}

fn pg_row(values: &[Option<&str>]) -> Vec<u8> {
    let mut body = u16::try_from(values.len()).unwrap_or_default().to_be_bytes().to_vec();
    for value in values {
        match value {
            None => body.extend((-1i32).to_be_bytes()),
            Some(text) => {
                body.extend(u32::try_from(text.len()).unwrap_or_default().to_be_bytes());
                body.extend(text.as_bytes());
            }
        }
    }
    message(b'D', &[&body])
}

fn pg_columns(count: u8) -> Vec<u8> {
    let column = b"a\0\0\0\0\0\0\0\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0";
    message(b'T', &[&[0, count], &column.repeat(usize::from(count))])
}

fn pg_end() -> Vec<u8> {
    [message(b'C', &[b"SELECT 2\0"]), message(b'Z', &[b"I"])].concat()
}

fn pg_result(rows: &[&[Option<&str>]]) -> Vec<u8> {
    let rows: Vec<u8> = rows.iter().flat_map(|row| pg_row(row)).collect();
    [pg_columns(2), rows, pg_end()].concat()
}

fn pg_error(code: &str, text: &str) -> Vec<u8> {
    message(
        b'E',
        &[b"SFATAL\0VFATAL\0C", code.as_bytes(), b"\0M", text.as_bytes(), b"\0Fauth.c\0L326\0Rauth_failed\0\0"],
    )
}

fn pg_script() -> Vec<u8> {
    [pg_accepted(), pg_result(ROWS)].concat()
}

const EXPECT: &str = r#", "query": "SELECT names", "expect": ["payments", "monolith"], "rows": {"min": 2, "max": 2}"#;

fn scripts() -> [(&'static str, Vec<u8>); 2] {
    [("mysql", my_script()), ("postgresql", pg_script())]
}

#[test]
fn a_good_exchange_passes_however_it_is_cut() {
    for (kind, script) in scripts() {
        let settings = settings(kind, EXPECT);
        let drip = vec![Step::Drip { bytes: script.clone(), every_ms: 1 }];
        assert_eq!(check(&settings, &peer(drip)), Outcome::Pass, "{kind}");
        for cut in 0..=script.len() {
            let (start, rest) = script.split_at(cut);
            let host = peer(vec![Step::Send(start.to_vec()), Step::Send(rest.to_vec()), Step::Hang]);
            assert_eq!(check(&settings, &host), Outcome::Pass, "{kind}: {cut}");
        }
    }
}

#[test]
fn a_truncated_exchange_fails_wherever_it_ends() {
    for (kind, script) in scripts() {
        let settings = settings(kind, EXPECT);
        for cut in 0..script.len() {
            let start = || Step::Send(script.iter().take(cut).copied().collect());
            assert_fails(&check(&settings, &peer(vec![start()])), "closed the connection");
            assert_fails(&check(&settings, &peer(vec![start(), Step::Hang])), "timed out");
            assert_fails(&check(&settings, &peer(vec![start(), Step::Reset])), "connection closed by the peer");
        }
        let slow = vec![Step::Drip { bytes: script, every_ms: 100 }];
        assert_fails(&check(&settings, &peer(slow)), "timed out");
    }
}

#[test]
fn mysql_is_told_who_asks_for_what_and_that_it_is_over() {
    let host = peer(vec![Step::Send(my_script())]);
    assert_eq!(check(&settings("mysql", r#", "database": "shop""#), &host), Outcome::Pass);
    let written = written(&host);
    let flags = 1 << 3 | 1 << 9 | 1 << 13 | 1 << 15 | 1u32 << 19;
    let login: &[&[u8]] = &[
        &flags.to_le_bytes(),
        &[0, 0, 4, 0, 45],
        &[0; 23],
        b"probe\0\x14",
        // Of the password and "abcdefghijklmnopqrst".
        &[
            0x0a, 0xf5, 0x6c, 0x2b, 0x6f, 0x29, 0x0b, 0x5e, 0xc6, 0x7f, 0xa1, 0x36, 0x09, 0x80, 0xe4, 0x3c, 0x6a, 0x24,
            0xa8, 0x32,
        ],
        b"shop\0mysql_native_password\0",
    ];
    let expected = [packet(1, &login.concat()), packet(0, b"\x03SELECT 1"), packet(0, b"\x01")].concat();
    assert_eq!(written, expected, "{}", written.escape_ascii());
}

#[test]
fn postgresql_is_told_who_asks_for_what_and_that_it_is_over() {
    let host = peer(vec![Step::Send(pg_script())]);
    assert_eq!(check(&settings("postgresql", r#", "database": "shop""#), &host), Outcome::Pass);
    let startup: &[&[u8]] = &[
        b"\0\0\0\x52\0\x03\0\0user\0probe\0database\0shop\0",
        b"client_encoding\0UTF8\0application_name\0probe-sql\0\0",
    ];
    let expected = [startup.concat(), message(b'Q', &[b"SELECT 1\0"]), message(b'X', &[])].concat();
    let written = written(&host);
    assert_eq!(written, expected, "{}", written.escape_ascii());
}

#[test]
fn values_and_numbers_of_rows_are_judged_the_same_for_both() {
    for (kind, login, result) in [
        ("mysql", my_login(), my_result as fn(&[&[Option<&str>]]) -> Vec<u8>),
        ("postgresql", pg_accepted(), pg_result),
    ] {
        let ask = |more: &str, rows: &[&[Option<&str>]]| {
            let host = peer(vec![Step::Send([login.clone(), result(rows)].concat())]);
            check(&settings(kind, more), &host)
        };
        assert_eq!(ask("", &[]), Outcome::Pass);
        assert_eq!(ask(r#", "expect": "10.0.0.1""#, ROWS), Outcome::Pass);
        assert_eq!(ask(r#", "expect": [""]"#, &[&[Some(""), None]]), Outcome::Pass);
        assert_eq!(ask(r#", "rows": {"max": 0}"#, &[]), Outcome::Pass);
        assert_eq!(ask(r#", "rows": {"min": 2}"#, ROWS), Outcome::Pass);
        for (more, rows, said) in [
            (
                r#", "expect": ["monolith", "basket"]"#,
                ROWS,
                r#""SELECT 1" did not return "basket"; 2 rows came: "monolith", "10.0.0.1", "payments", NULL"#,
            ),
            (r#", "expect": "mono""#, ROWS, r#"did not return "mono""#),
            (r#", "expect": "Payments""#, ROWS, r#"did not return "Payments""#),
            (r#", "expect": "NULL""#, ROWS, r#"did not return "NULL""#),
            (r#", "expect": [""]"#, ROWS, r#"did not return "";"#),
            (r#", "expect": "a""#, &[], "did not return \"a\"; there was no row"),
            (r#", "rows": {"min": 1}"#, &[], "fewer rows than rows.min = 1 asks for; there was no row"),
            (r#", "rows": {"min": 3}"#, ROWS, "fewer rows than rows.min = 3 asks for; 2 rows came"),
            (r#", "rows": {"max": 0}"#, ROWS, "more rows than rows.max = 0 allows; one row came"),
            (r#", "rows": {"max": 1}"#, ROWS, "more rows than rows.max = 1 allows; 2 rows came"),
        ] {
            assert_fails(&ask(more, rows), said);
        }
        let long = "x".repeat(200);
        let outcome = ask(r#", "expect": "a""#, &[&[Some(&long), Some("\n\0")], &[Some("c"), Some("d")]]);
        assert_fails(&outcome, "xxx…\", …");
    }
}

#[test]
fn a_statement_without_a_result_has_no_rows() {
    let mysql = [my_login(), packet(1, OK)].concat();
    let postgresql = [pg_accepted(), pg_end()].concat();
    for (kind, script) in [("mysql", mysql), ("postgresql", postgresql)] {
        let ask = |more: &str| check(&settings(kind, more), &peer(vec![Step::Send(script.clone())]));
        assert_eq!(ask(""), Outcome::Pass);
        assert_fails(&ask(r#", "expect": "a""#), "there was no row");
    }
}

#[test]
fn every_error_of_mysql_fails_with_its_code_and_text() {
    let blocked = packet(0, b"\xff\x69\x04Host '10.0.0.9' is blocked");
    assert_fails(
        &my("", &blocked),
        "MySQL at 127.0.0.1:7 refused the connection: error 1129: Host '10.0.0.9' is blocked",
    );
    let denied = my_error(1045, "28000", "Access denied for user 'probe'@'localhost' (using password: YES)");
    assert_fails(
        &my("", &[greeting("mysql_native_password"), packet(2, &denied)].concat()),
        "refused the login of \"probe\": error 1045 (28000): Access denied for user 'probe'@'localhost' (using password: YES)",
    );
    // A server that gives up does not care for numbers.
    assert_fails(&my("", &[greeting("mysql_native_password"), packet(0, &denied)].concat()), "error 1045");
    let missing = my_error(1146, "42S02", "Table 'shop.a' doesn't exist");
    let said = "\"SELECT 1\" failed: error 1146 (42S02): Table 'shop.a' doesn't exist";
    assert_fails(&my("", &[my_login(), packet(1, &missing)].concat()), said);
    // In place of each packet of a result.
    let result: Vec<Vec<u8>> = vec![vec![1], b"\x03def".to_vec(), END.to_vec(), my_row(&[Some("a")]), END.to_vec()];
    for broken in 0..result.len() {
        let mut bodies: Vec<Vec<u8>> = result.iter().take(broken).cloned().collect();
        bodies.push(missing.clone());
        assert_fails(&my("", &[my_login(), numbered(&bodies)].concat()), said);
    }
}

#[test]
fn every_error_of_postgresql_fails_with_its_code_and_text() {
    let denied = pg_error("28P01", "password authentication failed for user \"probe\"");
    let said = "refused the login of \"probe\": FATAL 28P01: password authentication failed for user \"probe\"";
    assert_fails(&pg("", &denied), said);
    assert_fails(&pg("", &[asks(3, b""), denied.clone()].concat()), said);
    assert_fails(&pg("", &[asks(5, b"salt"), denied.clone()].concat()), said);
    assert_fails(
        &pg("", &[asks(0, b""), pg_error("53300", "too many clients")].concat()),
        "FATAL 53300: too many clients",
    );
    let missing = message(b'E', &[b"SERROR\0VERROR\0C42P01\0Mrelation \"a\" does not exist\0HCreate\nit.\0P15\0\0"]);
    let said = "\"SELECT 1\" failed: ERROR 42P01: relation \"a\" does not exist (Create it.)";
    for before in [Vec::new(), pg_columns(1), [pg_columns(1), pg_row(&[Some("a")])].concat()] {
        assert_fails(&pg("", &[pg_accepted(), before, missing.clone(), message(b'Z', &[b"I"])].concat()), said);
    }
    let late = [pg_accepted(), pg_columns(1), message(b'C', &[b"SELECT 0\0"]), missing].concat();
    assert_fails(&pg("", &late), "42P01");
    for bare in [&b""[..], b"\0", b"Mno end"] {
        assert_fails(&pg("", &message(b'E', &[bare])), "ERROR without a code: no text");
    }
}

/// What is in the answer to a switch or a greeting, of the password and [`NONCE`].
fn caching_answer() -> Vec<u8> {
    let once = Sha256::digest(PASSWORD);
    let mask = Sha256::new().chain_update(Sha256::digest(once)).chain_update(NONCE).finalize();
    once.iter().zip(mask).map(|(byte, other)| byte ^ other).collect()
}

#[test]
fn caching_sha2_password_passes_where_the_server_has_the_hash() {
    let result = my_result(ROWS);
    let favourite = [greeting("caching_sha2_password"), packet(2, &[1, 3]), packet(3, OK), result.clone()].concat();
    let host = peer(vec![Step::Send(favourite)]);
    assert_eq!(check(&settings("mysql", ""), &host), Outcome::Pass);
    assert!(contains(&written(&host), &[b"\x20".as_slice(), &caching_answer()].concat()));

    let switch = [b"\xfecaching_sha2_password\0".as_slice(), NONCE, b"\0"].concat();
    for method in ["mysql_native_password", "client_ed25519", ""] {
        let script = [greeting(method), packet(2, &switch), packet(4, &[1, 3]), packet(5, OK), result.clone()];
        let host = peer(vec![Step::Send(script.concat())]);
        assert_eq!(check(&settings("mysql", ""), &host), Outcome::Pass);
        assert!(contains(&written(&host), &packet(3, &caching_answer())));
    }
}

const TLS: &str = r#", "tls": {"insecure": true, "server-name": "db.example"}"#;

fn options() -> TlsOptions {
    TlsOptions { server_name: "db.example".to_owned(), trust: Trust::Anybody, identity: None, protocols: Vec::new() }
}

#[test]
fn mysql_is_asked_for_tls_before_anything_is_said() {
    let rest = [packet(3, OK), my_result(ROWS)].concat();
    let host = peer(vec![Step::Send(greeting_tls("mysql_native_password")), Step::Send(rest)]);
    assert_eq!(check(&settings("mysql", TLS), &host), Outcome::Pass);
    assert_eq!(host.agreements(), [options()]);
    let written = written(&host);
    let request = written.get(..36).unwrap_or_default();
    assert!(request.starts_with(&[32, 0, 0, 1]) && request.get(5).is_some_and(|high| high & 0x08 != 0), "{request:?}");
    assert!(!contains(request, b"probe") && contains(&written, b"probe"));
}

#[test]
fn mysql_gets_the_password_itself_over_tls_only() {
    let rest = [packet(5, OK), my_result(ROWS)].concat();
    let host =
        peer([greeting_tls("caching_sha2_password"), packet(3, &[1, 4]), rest].map(Step::Send).into_iter().collect());
    assert_eq!(check(&settings("mysql", TLS), &host), Outcome::Pass);
    assert!(contains(&written(&host), &packet(4, format!("{PASSWORD}\0").as_bytes())));

    let script = vec![Step::Send([greeting_tls("caching_sha2_password"), packet(2, &[1, 4])].concat()), Step::Hang];
    let host = peer(script);
    assert_unknown(&check(&settings("mysql", ""), &host), "write tls = {}, log in once over the server's socket");
    assert!(!contains(&written(&host), PASSWORD.as_bytes()));
}

#[test]
fn a_server_without_tls_fails_and_hears_nothing() {
    let host = peer(vec![Step::Send(greeting("mysql_native_password")), Step::Hang]);
    let outcome = check(&settings("mysql", TLS), &host);
    assert_fails(&outcome, "MySQL at 127.0.0.1:7 does not offer TLS; set ssl_cert and ssl_key there, or leave tls out");
    assert_eq!(written(&host), packet(1, &[0]));
    assert_eq!(host.agreements(), []);

    let host = peer(vec![Step::Send(b"N".to_vec()), Step::Hang]);
    let outcome = check(&settings("postgresql", TLS), &host);
    assert_fails(&outcome, "PostgreSQL at 127.0.0.1:7 does not offer TLS; set ssl = on there, or leave tls out");
    assert_eq!(written(&host), [0, 0, 0, 8, 4, 210, 22, 47]);

    let host = peer(vec![Step::Send(b"E\0\0\0\x08SFA".to_vec()), Step::Hang]);
    assert_fails(&check(&settings("postgresql", TLS), &host), "when asked for TLS it sent: \"E\"");
}

#[test]
fn postgresql_is_asked_for_tls_before_anything_is_said() {
    let host = peer(vec![Step::Send(b"S".to_vec()), Step::Send(pg_script())]);
    assert_eq!(check(&settings("postgresql", TLS), &host), Outcome::Pass);
    assert_eq!(host.agreements(), [options()]);
    let written = written(&host);
    assert!(written.starts_with(&[0, 0, 0, 8, 4, 210, 22, 47]) && contains(&written, b"probe"));
}

#[test]
fn what_comes_before_tls_is_not_taken_for_what_comes_with_it() {
    let login = [greeting_tls("mysql_native_password"), packet(3, OK), my_result(ROWS)].concat();
    for (kind, sent) in [("mysql", login), ("postgresql", [b"S".to_vec(), pg_script()].concat())] {
        let host = peer(vec![Step::Send(sent), Step::Hang]);
        assert_fails(&check(&settings(kind, TLS), &host), "it went on without TLS");
        assert_eq!(host.agreements(), []);
    }
}

#[test]
fn peers_that_are_not_trusted_fail() {
    for (kind, name, first) in
        [("mysql", "MySQL", greeting_tls("mysql_native_password")), ("postgresql", "PostgreSQL", b"S".to_vec())]
    {
        let peer = || peer(vec![Step::Send(first.clone()), Step::Hang]);
        let untrusted = NetworkError::Untrusted("invalid peer certificate: UnknownIssuer".to_owned());
        let outcome = check(&settings(kind, TLS), &peer().with_tls_refusal(untrusted));
        assert_fails(&outcome, &format!("cannot agree on TLS with {name} at 127.0.0.1:7: invalid peer certificate"));
        let tiny = NetworkError::Unsupported("there is no TLS in this hilum".to_owned());
        assert_unknown(&check(&settings(kind, TLS), &peer().with_tls_refusal(tiny)), "no TLS");
        assert_unknown(
            &check(&settings(kind, r#", "tls": {"ca": "/ca.pem"}"#), &peer()),
            "reading /ca.pem is not granted",
        );
    }
}

#[test]
fn mysql_logins_that_are_not_spoken_are_unknown_and_ended_properly() {
    let greeting = greeting("caching_sha2_password");
    for (answer, said) in [
        (&b"\x01\x04"[..], "sends over TLS only"),
        (
            b"\xfeclient_ed25519\0abcdefghijklmnopqrstuvwxyzabcdef",
            "log in by \"client_ed25519\", which this probe does not speak",
        ),
        (b"\xfemysql_clear_password\0", "\"mysql_clear_password\""),
        (b"\xfe", "\"mysql_old_password\""),
    ] {
        let host = peer(vec![Step::Send([greeting.clone(), packet(2, answer)].concat()), Step::Hang]);
        assert_unknown(&check(&settings("mysql", ""), &host), said);
        assert!(written(&host).ends_with(&packet(3, &[0])), "{said}");
    }
}

#[test]
fn servers_before_4_1_fail_as_not_supported() {
    for greeting in [
        b"\x093.20.1\0\x01\0\0\0abcdefgh\0".to_vec(),
        // Protocol 10 without the capabilities of 4.1.
        b"\x0a4.0.30\0\x01\0\0\0abcdefgh\0\x2c\x20\x08\x02\0".to_vec(),
    ] {
        assert_fails(&my("", &packet(0, &greeting)), "speaks the protocol of MySQL before 4.1");
    }
}

#[test]
fn postgresql_is_sent_the_password_as_it_asks_for_it() {
    let script = [asks(3, b""), pg_script()].concat();
    let host = peer(vec![Step::Send(script)]);
    assert_eq!(check(&settings("postgresql", ""), &host), Outcome::Pass);
    assert!(contains(&written(&host), &message(b'p', &[PASSWORD.as_bytes(), b"\0"])));

    let script = [asks(5, b"salt"), pg_script()].concat();
    let host = peer(vec![Step::Send(script)]);
    assert_eq!(check(&settings("postgresql", ""), &host), Outcome::Pass);
    assert!(contains(&written(&host), &message(b'p', &[b"md5d2f5aa57742647c890de24db44a71185\0"])));

    let anonymous = r#"{"kind": "postgresql", "host": "127.0.0.1", "port": 7, "username": "probe"}"#;
    for asked in [asks(3, b""), asks(5, b"salt"), asks(10, b"SCRAM-SHA-256\0\0")] {
        let outcome = check(anonymous, &peer(vec![Step::Send(asked)]));
        assert_unknown(&outcome, "wants a password of \"probe\", and the settings have none; write password =");
    }
}

fn hmac(key: &[u8], text: &[u8]) -> Vec<u8> {
    let pad = |mask: u8| -> Vec<u8> { (0..64).map(|at| key.get(at).copied().unwrap_or_default() ^ mask).collect() };
    let inner = Sha256::new().chain_update(pad(0x36)).chain_update(text).finalize();
    Sha256::new().chain_update(pad(0x5c)).chain_update(inner).finalize().to_vec()
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bits: Vec<u8> = bytes.iter().flat_map(|byte| (0..8).rev().map(move |at| byte >> at & 1)).collect();
    let mut text: String = bits
        .chunks(6)
        .map(|bits| (0..6).fold(0usize, |sum, at| sum * 2 + usize::from(bits.get(at).copied().unwrap_or_default())))
        .map(|index| char::from(ALPHABET.get(index).copied().unwrap_or_default()))
        .collect();
    while !text.len().is_multiple_of(4) {
        text.push('=');
    }
    text
}

/// A server that does SCRAM, for the nonce the probe takes at the fake host's time: what it sends first, and its signature.
fn scram_server(iterations: u32) -> (Vec<u8>, String) {
    let offer = asks(10, b"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0");
    let host = peer(vec![Step::Send(offer.clone()), Step::Hang]);
    assert_fails(&check(&settings("postgresql", ""), &host), "timed out");
    let written = written(&host);
    let start = written.windows(8).position(|window| window == b"n,,n=,r=").map_or(0, |at| at + 8);
    let nonce = String::from_utf8_lossy(written.get(start..).unwrap_or_default()).into_owned();
    assert_eq!(nonce.len(), 24, "{}", written.escape_ascii());

    let first = format!("r={nonce}theirs,s={},i={iterations}", base64(b"some salt"));
    let signed = format!("n=,r={nonce},{first},c=biws,r={nonce}theirs");
    let mut round = hmac(PASSWORD.as_bytes(), b"some salt\0\0\0\x01");
    let mut salted = round.clone();
    for _ in 1..iterations.min(5000) {
        round = hmac(PASSWORD.as_bytes(), &round);
        salted.iter_mut().zip(&round).for_each(|(byte, other)| *byte ^= other);
    }
    let signature = base64(&hmac(&hmac(&salted, b"Server Key"), signed.as_bytes()));
    ([offer, asks(11, first.as_bytes())].concat(), signature)
}

#[test]
fn scram_passes_with_a_server_that_knows_the_password_and_only_then() {
    let (start, signature) = scram_server(4096);
    let end = asks(12, format!("v={signature}").as_bytes());
    let script = [start.clone(), end.clone(), pg_script()].concat();
    assert_eq!(pg("", &script), Outcome::Pass);
    let drip = peer(vec![Step::Drip { bytes: script, every_ms: 0 }]);
    assert_eq!(check(&settings("postgresql", ""), &drip), Outcome::Pass);

    let wrong = asks(12, format!("v={}", base64(&[7; 32])).as_bytes());
    assert_fails(&pg("", &[start.clone(), wrong, pg_script()].concat()), "it is not the server it should be");
    assert_fails(&pg("", &[start.clone(), pg_script()].concat()), "it let us in without the proof it owes");
    let offer = asks(10, b"SCRAM-SHA-256\0\0");
    assert_fails(&pg("", &[offer.clone(), pg_script()].concat()), "it let us in without the proof it owes");
    let denied = pg_error("28P01", "password authentication failed for user \"probe\"");
    assert_fails(&pg("", &[start, denied].concat()), "28P01");
    // What was said to someone else.
    let replayed = asks(11, b"r=fyko+d2lbbFgONRv9qkxdawLtheirs,s=c2FsdA==,i=4096");
    assert_fails(&pg("", &[offer.clone(), replayed, end].concat()), "the nonce is not ours");
    assert_fails(&pg("", &[offer, asks(11, b"nonsense")].concat()), "a part is missing");
    let (costly, _) = scram_server(100_001);
    assert_unknown(&pg("", &costly), "hashed 100001 times, this probe has time for 100000");
}

#[test]
fn postgresql_logins_that_are_not_spoken_are_unknown() {
    for (asked, said) in [
        (asks(2, b""), "Kerberos or GSSAPI"),
        (asks(7, b""), "Kerberos or GSSAPI"),
        (asks(9, b""), "SSPI"),
        (asks(6, b""), "login method 6"),
        (asks(10, b"SCRAM-SHA-256-PLUS\0\0"), "SCRAM-SHA-256-PLUS"),
        (asks(10, b"OAUTHBEARER\0\0"), "let pg_hba.conf ask it for scram-sha-256, md5 or password"),
    ] {
        assert_unknown(&pg("", &asked), said);
    }
    for asked in [
        asks(13, b""),
        asks(8, b"x"),
        asks(5, b"sal"),
        [asks(3, b""), asks(3, b"")].concat(),
        [asks(3, b""), asks(5, b"salt")].concat(),
        [asks(0, b""), asks(0, b"")].concat(),
        asks(11, b"r=a,s=b,i=1"),
        asks(12, b"v=a"),
        message(b'R', &[b"\0\0"]),
        message(b'S', &[b"a\0b\0"]),
        message(b'Z', &[b"I"]),
        message(b'T', &[b"\0\0"]),
    ] {
        assert_fails(&pg("", &asked), "does not speak PostgreSQL");
    }
}

const OTHERS: &[&[u8]] = &[
    b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
    b"<html>",
    b"-ERR unknown command\r\n",
    b"SSH-2.0-OpenSSH_9.2\r\n",
    b"220 mail.example.org ESMTP\r\n",
    b"AMQP\0\0\x09\x01",
    b"\x15\x03\x01\0\x02\x02\x32",
    &[0xff; 300],
    &[0; 300],
    b"E\0\0\0\0",
    b"R\0\0\0\x03",
    b"D\xff\xff\xff\xff",
    b"\xff\xff\xff\0",
    b"\0\0\0\0",
    b"\x01\0\0\0\x07",
    b"\x05\0\0\x03\x0a1234",
];

#[test]
fn another_protocol_fails_with_what_it_sent() {
    for other in OTHERS {
        let shown = other.iter().take(4).copied().collect::<Vec<u8>>().escape_ascii().to_string();
        for kind in ["mysql", "postgresql"] {
            let host = peer(vec![Step::Send(other.to_vec()), Step::Hang]);
            let outcome = check(&settings(kind, ""), &host);
            assert!(matches!(outcome, Outcome::Fail(_)), "{shown}: {outcome:?}");
        }
    }
    assert_fails(
        &my("", b"HTTP/1.1 400 Bad Request\r\n"),
        r#"does not speak MySQL: it sent: "HTTP/1.1 400 Bad Request"#,
    );
    assert_fails(&pg("", b"HTTP/1.1 400 Bad Request\r\n"), r#"does not speak PostgreSQL: it sent: "HTTP/1.1 400"#);
    assert_fails(&pg("", &greeting("mysql_native_password")), "does not speak PostgreSQL");
    assert_fails(&my("", &pg_error("0A000", "unsupported")), "does not speak MySQL");
    assert_fails(
        &check(&settings("mysql", ""), &peer(vec![Step::Hang])),
        "cannot read the greeting of MySQL at 127.0.0.1:7: timed out",
    );
}

#[test]
fn malformed_parts_of_a_result_fail() {
    let one = |rest: &[&[u8]]| {
        let mut bodies: Vec<Vec<u8>> = vec![vec![1], b"\x03def".to_vec(), END.to_vec()];
        bodies.extend(rest.iter().map(|body| body.to_vec()));
        [my_login(), numbered(&bodies)].concat()
    };
    for (script, said) in [
        (one(&[b"\x05abc"]), "a malformed row"),
        (one(&[b"\x01ab"]), "a malformed row"),
        (one(&[b"\xfc\xff"]), "a malformed row"),
        (one(&[b"\xfd\xff\xff\xff"]), "a malformed row"),
        (one(&[b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff"]), "a malformed row"),
        (one(&[b"\xfe\0"]), "a malformed row"),
        ([my_login(), numbered(&[vec![0]])].concat(), "an OK that ends too early"),
        ([my_login(), numbered(&[b"\xfc\x01\x10".to_vec()])].concat(), "a result without columns"),
        ([my_login(), numbered(&[b"\xfe\0\0\x02\0".to_vec()])].concat(), "a result without columns"),
        ([my_login(), numbered(&[vec![2, 2]])].concat(), "a result without columns"),
        (
            [my_login(), numbered(&[vec![2], b"\x03def".to_vec(), END.to_vec()])].concat(),
            "fewer columns than announced",
        ),
        ([my_login(), numbered(&[vec![1], b"\x03def".to_vec(), b"\x01a".to_vec()])].concat(), "columns without an end"),
        ([my_login(), packet(2, &[1])].concat(), "packet 2 instead of 1"),
        ([greeting("mysql_native_password"), packet(2, &[0])].concat(), "within the login"),
        ([greeting("mysql_native_password"), packet(2, &[1, 4])].concat(), "within the login"),
        ([greeting("caching_sha2_password"), packet(2, &[1, 5])].concat(), "within the login"),
        ([greeting("mysql_native_password"), packet(2, b"\xfemysql_native_password\0short")].concat(), "random number"),
        ([greeting("mysql_native_password"), packet(2, b"\xfename without end")].concat(), "without a name"),
        (packet(0, b"\x0a8.0"), "a greeting that ends too early"),
    ] {
        assert_fails(&my("", &script), said);
    }
    let switch = [b"\xfemysql_native_password\0".as_slice(), NONCE, b"\0"].concat();
    let switches: Vec<u8> = (1..20).flat_map(|at| packet(at * 2, &switch)).collect();
    assert_fails(&my("", &[greeting("mysql_native_password"), switches].concat()), "a login without an end");

    for (part, said) in [
        (pg_row(&[Some("a")]), "message 'D' within a result"),
        ([pg_columns(2), pg_row(&[Some("a")])].concat(), "a malformed row"),
        ([pg_columns(1), message(b'D', &[b"\0\x01\0\0\0\x05abc"])].concat(), "a malformed row"),
        ([pg_columns(1), message(b'D', &[b"\0\x01\xff\xff\xff\xfe"])].concat(), "a malformed row"),
        ([pg_columns(1), message(b'D', &[b"\0\x01\0\0\0\x01ab"])].concat(), "a malformed row"),
        ([pg_columns(1), message(b'D', &[b"\0"])].concat(), "a malformed row"),
        (message(b'T', &[b"\0"]), "a short row description"),
        ([pg_columns(1), pg_columns(1)].concat(), "message 'T' within a result"),
        (message(b'Z', &[b"I"]), "message 'Z' within a result"),
        (message(b'K', &[b"I"]), "message 'K' within a result"),
        (b"C\0\0\0\x01".to_vec(), "does not speak PostgreSQL"),
        (b"C\x7f\0\0\x01".to_vec(), "does not speak PostgreSQL"),
    ] {
        assert_fails(&pg("", &[pg_accepted(), part].concat()), said);
    }
}

#[test]
fn queries_that_are_no_single_question_are_unknown() {
    let more = b"\xfe\0\0\x0a\0".to_vec();
    let rows = numbered(&[vec![1], b"\x03def".to_vec(), END.to_vec(), more]);
    for answer in [rows, packet(1, b"\0\0\0\x0a\0\0\0")] {
        assert_unknown(&my("", &[my_login(), answer].concat()), "more than one statement");
    }
    assert_unknown(&my("", &[my_login(), packet(1, b"\xfb/etc/passwd")].concat()), "loads a local file");
    let twice = [pg_columns(1), message(b'C', &[b"SELECT 0\0"]), pg_columns(1)].concat();
    assert_unknown(&pg("", &[pg_accepted(), twice].concat()), "is more than one statement; use one probe for each");
    let twice = message(b'C', &[b"BEGIN\0"]).repeat(2);
    assert_unknown(&pg("", &[pg_accepted(), twice].concat()), "more than one statement");
    assert_unknown(&pg("", &[pg_accepted(), message(b'I', &[])].concat()), "asks nothing");
    for kind in [b'G', b'H', b'W'] {
        assert_unknown(&pg("", &[pg_accepted(), message(kind, &[b"\0\0\0"])].concat()), "copies data");
    }
}

#[test]
fn results_that_are_too_large_are_unknown_and_not_read() {
    let said = "the result is larger than this probe reads (256 KiB in a row, 1024 KiB in all); ask for less";
    let start = numbered(&[vec![1], b"\x03def".to_vec(), END.to_vec()]);
    for header in [b"\xff\xff\xff\x04", b"\x01\0\x04\x04"] {
        assert_unknown(&my("", &[my_login(), start.clone(), header.to_vec()].concat()), said);
    }
    let row = [b"\xfd\x00\xff\x00".as_slice(), &[b'x'; 0xff00]].concat();
    let rows: Vec<u8> = (4..40).flat_map(|at| packet(at, &row)).collect();
    assert_unknown(&my("", &[my_login(), start, rows].concat()), said);

    for header in [b"D\x7f\xff\xff\xff", b"D\0\x04\0\x01"] {
        assert_unknown(&pg("", &[pg_accepted(), pg_columns(1), header.to_vec()].concat()), said);
    }
    let row = pg_row(&[Some(&"x".repeat(200_000))]);
    assert_unknown(&pg("", &[pg_accepted(), pg_columns(1), row.repeat(6)].concat()), said);
    // Within the limits, and many.
    let rows = pg_row(&[Some("a")]).repeat(80_000);
    assert_eq!(
        pg(r#", "rows": {"min": 80000}"#, &[pg_accepted(), pg_columns(1), rows, pg_end()].concat()),
        Outcome::Pass
    );
    // Before the login it is not a result.
    let notices = message(b'N', &[&[b'x'; 0xff00]]).repeat(20);
    assert_fails(&pg("", &notices), "it sent too much before the login was done");
}

#[test]
fn a_large_row_is_read_whole() {
    let text = "y".repeat(250_000);
    let [low, middle, high, _] = 250_000u32.to_le_bytes();
    let row = [&[0xfd, low, middle, high], text.as_bytes()].concat();
    let result = numbered(&[vec![1], b"\x03def".to_vec(), END.to_vec(), row, END.to_vec()]);
    let expect = format!(r#", "expect": "{text}""#);
    assert_eq!(my(&expect, &[my_login(), result].concat()), Outcome::Pass);
    let result = [pg_columns(1), pg_row(&[Some(&text)]), pg_end()].concat();
    assert_eq!(pg(&expect, &[pg_accepted(), result].concat()), Outcome::Pass);
}

#[test]
fn what_the_server_is_not_to_blame_for_is_unknown() {
    for kind in ["mysql", "postgresql"] {
        let settings = settings(kind, "");
        let refused = FakeHost::new().with_failure("127.0.0.1", 7, NetworkError::Refused);
        assert_fails(&check(&settings, &refused), "127.0.0.1:7: connection refused");
        assert_unknown(&check(&settings, &FakeHost::new()), "allow.connect");
        let unresolved =
            FakeHost::new().with_failure("127.0.0.1", 7, NetworkError::NameUnresolved("no such name".into()));
        assert_unknown(&check(&settings, &unresolved), "no such name");
    }
}

#[test]
fn the_port_is_that_of_the_kind() {
    for (kind, place) in [("mysql", "MySQL at [::1]:3306"), ("postgresql", "PostgreSQL at [::1]:5432")] {
        let settings = format!(r#"{{"kind": "{kind}", "host": "::1", "username": "probe"}}"#);
        assert_unknown(&check(&settings, &FakeHost::new()), place);
    }
}

#[test]
fn wrong_settings_are_unknown_and_say_what_to_write() {
    let base = r#""kind": "mysql", "host": "a", "username": "u""#;
    let long = "x".repeat(70_000);
    for (settings, said) in [
        ("{}".to_owned(), "kind: missing; write kind = \"mysql\" or kind = \"postgresql\""),
        (r#"{"kind": "mariadb"}"#.to_owned(), "kind: \"mariadb\" is not known; write \"mysql\" (also for MariaDB) or"),
        (r#"{"kind": "mysql"}"#.to_owned(), "host: missing; write host = \"127.0.0.1\""),
        (r#"{"kind": "mysql", "host": "tcp a"}"#.to_owned(), "is not an address or a name; write"),
        (r#"{"kind": "mysql", "host": "[::1]"}"#.to_owned(), "is not an address or a name; write"),
        (r#"{"kind": "mysql", "host": ""}"#.to_owned(), "is not an address or a name; write"),
        (r#"{"kind": "mysql", "host": "a"}"#.to_owned(), "username: missing; write username = \"probe\""),
        (r#"{"kind": "mysql", "host": "a", "username": ""}"#.to_owned(), "username: cannot be empty"),
        (format!(r#"{{{base}, "port": 0}}"#), "port: must be a whole number from 1 to 65535, not 0"),
        (format!(r#"{{{base}, "password": 31337}}"#), "password: must be a string; put it in quotes"),
        (format!(r#"{{{base}, "password": ["{PASSWORD}"]}}"#), "password: must be a string"),
        (format!(r#"{{{base}, "password": "{PASSWORD}\u0000"}}"#), "password: cannot hold a NUL character"),
        (format!(r#"{{{base}, "password": "{long}"}}"#), "password: has 70000 bytes, there can be 1024"),
        (format!(r#"{{{base}, "database": ""}}"#), "database: cannot be empty"),
        (format!(r#"{{{base}, "query": " \n"}}"#), "query: an empty query asks nothing; write \"SELECT 1\""),
        (format!(r#"{{{base}, "query": "{long}"}}"#), "query: has 70000 bytes, there can be 65536"),
        (format!(r#"{{{base}, "query": ["a"]}}"#), "query: must be a string"),
        (format!(r#"{{{base}, "expect": []}}"#), "expect: an empty list expects nothing; write"),
        (format!(r#"{{{base}, "expect": ["a", 1]}}"#), "expect[1]: must be a string, not 1"),
        (format!(r#"{{{base}, "expect": [{}"a"]}}"#, "\"a\",".repeat(64)), "has 65 values, there can be 64"),
        (format!(r#"{{{base}, "rows": {{}}}}"#), "rows: an empty table expects nothing; write rows = { min = 1 }"),
        (format!(r#"{{{base}, "rows": 3}}"#), "rows: must be a table, not 3"),
        (format!(r#"{{{base}, "rows": {{"mni": 3}}}}"#), "rows.mni: no such key; there are min, max"),
        (format!(r#"{{{base}, "rows": {{"min": -1}}}}"#), "rows.min: must be a whole number from 0 to 1000000, not -1"),
        (format!(r#"{{{base}, "rows": {{"min": 3, "max": 2}}}}"#), "rows: no number is at least 3 and at most 2"),
        (
            format!(r#"{{{base}, "rows": {{"max": 0}}, "expect": "a"}}"#),
            "expect: rows.max = 0 allows no row to hold it",
        ),
        (format!(r#"{{{base}, "dsn": "a"}}"#), "dsn: no such key; there are kind, host, port, tls, username, password"),
    ] {
        let host = peer(Vec::new());
        let outcome = check(&settings, &host);
        assert_unknown(&outcome, said);
        assert!(!matches!(&outcome, Outcome::Unknown(why) if why.contains("31337")));
        assert!(host.conversations().is_empty());
    }
}

#[test]
fn mutated_servers_never_pass_and_never_break_the_probe() {
    let (start, signature) = scram_server(2);
    let scram = [start, asks(12, format!("v={signature}").as_bytes()), pg_script()].concat();
    let switch = [b"\xfecaching_sha2_password\0".as_slice(), NONCE, b"\0"].concat();
    let switched =
        [greeting("mysql_native_password"), packet(2, &switch), packet(4, &[1, 3]), packet(5, OK), my_result(ROWS)]
            .concat();
    let scripts = [
        ("mysql", my_script()),
        ("mysql", switched),
        ("postgresql", pg_script()),
        ("postgresql", [asks(5, b"salt"), pg_script()].concat()),
        ("postgresql", scram),
    ];
    // Lengths, kinds and statuses of both protocols.
    const TELLING: &[u8] = &[0, 1, 2, 3, 4, 5, 0x7f, 0x80, 0xfa, 0xfb, 0xfc, 0xfd, 0xfe, 0xff, b'D', b'E', b'R', b'Z'];
    // No script has this value, and no few changes make it.
    const ABSENT: &str = r#", "expect": "nobody sends these very words""#;
    for (kind, script) in &scripts {
        assert_fails(&check(&settings(kind, ABSENT), &peer(vec![Step::Send(script.clone())])), "did not return");
        assert_eq!(check(&settings(kind, EXPECT), &peer(vec![Step::Send(script.clone())])), Outcome::Pass);
    }
    let mut random = Random::new();
    let mut answers = [0u32; 2];
    for round in 0..10_000 {
        let (kind, mut bytes) = random.pick(&scripts);
        for _ in 0..=random.below(4) {
            random.damage(&mut bytes, |random| vec![random.pick(TELLING)]);
        }
        let shown = bytes.escape_ascii();
        let outcome = check(&settings(kind, ABSENT), &peer(random.steps(&bytes)));
        match outcome {
            Outcome::Pass => assert_ne!(outcome, Outcome::Pass, "round {round}: {kind} {shown}"),
            Outcome::Fail(_) => answers[0] += 1,
            Outcome::Unknown(_) => answers[1] += 1,
        }
    }
    assert!(answers.iter().all(|count| *count > 0), "{answers:?}");
}
