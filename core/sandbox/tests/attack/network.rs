//! Places that are not granted, and ways to them from those that are: names, redirects, notations.

use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use crate::peers::{Forbidden, Web, resolver, send, serve};
use crate::stage::{AMPLE, BRIEF, Met, Setting, Stage};

/// Tries a place over TCP, UDP and HTTP. Nobody may come there.
fn try_all(stage: &mut Stage, forbidden: &Forbidden, host: &str, check: impl Fn(Met)) {
    let port = forbidden.port;
    let bracketed = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    for (attempt, with) in [
        ("connect-tcp", json!({"host": host, "port": port})),
        ("connect-udp", json!({"host": host, "port": port})),
        ("fetch", json!({"url": format!("http://{bracketed}:{port}/"), "wanted": ""})),
    ] {
        let name = format!("{attempt} to {host}");
        check(stage.attempt(&name, attempt, &with, AMPLE));
        forbidden.assert_unvisited(&name);
    }
}

#[test]
fn places_that_are_not_granted_are_denied_by_name() {
    let forbidden = Forbidden::new();
    let other = forbidden.port.wrapping_add(1).max(1024);
    let granted = [
        &format!("127.0.0.1:{other}"),
        &format!("localhost:{}", forbidden.port),
        "granted.test:*",
        "udp:granted.test:*",
    ];
    let mut stage = Setting::default().connect(&granted).start();
    // The address of a granted name, another port of a granted address, others.
    for host in [
        "127.0.0.1",
        "127.0.0.2",
        "::1",
        "169.254.169.254",
        "192.0.2.1",
        "fe80::1",
        "other.test",
        "granted.test.",
        "x.granted.test",
    ] {
        let place = if host.contains(':') {
            format!("[{host}]:{}", forbidden.port)
        } else {
            format!("{host}:{}", forbidden.port)
        };
        try_all(&mut stage, &forbidden, host, |met| {
            met.denied(&format!("{place}\" to allow.connect"));
        });
    }
}

#[test]
fn old_notations_of_addresses_are_no_addresses() {
    let forbidden = Forbidden::new();
    let port = forbidden.port;
    let old = ["127.1", "127.0.1", "0x7f000001", "0x7f.1", "2130706433", "017700000001", "0177.0.0.1", "127.0.0.0x1"];
    let granted = format!("127.0.0.1:{port}");
    let mut stage = Setting::default().connect(&[&granted, &format!("udp:{granted}")]).start();
    for host in old {
        try_all(&mut stage, &forbidden, host, |met| {
            met.denied("to allow.connect");
        });
    }
    let any = format!("*:{port}");
    let mut stage = Setting::default().connect(&[&any, &format!("udp:{any}")]).start();
    for host in old {
        try_all(&mut stage, &forbidden, host, |met| {
            met.failed("NameUnresolved(").failed("in decimal");
        });
    }
    for host in ["", ".", "a b", "127.0.0.1 ", "127.0.0.1\0", "127.0.0.1\n", "[::1]", "::1%lo", "*", "-x", "a..b"] {
        for attempt in ["connect-tcp", "connect-udp"] {
            stage
                .attempt(&format!("{host:?}"), attempt, &json!({"host": host, "port": port}), AMPLE)
                .failed("Invalid(");
        }
    }
    stage.attempt("port 0", "connect-tcp", &json!({"host": "127.0.0.1", "port": 0}), AMPLE).failed("Invalid(");
    forbidden.assert_unvisited("odd hosts");
}

#[test]
fn a_granted_name_that_dns_leads_to_this_machine_is_denied() {
    let forbidden = Forbidden::new();
    let names = ["near", "six", "mapped", "compatible", "translated", "zero", "link", "both", "flip"];
    let places: Vec<String> = names
        .iter()
        .flat_map(|name| ["", "udp:"].map(|kind| format!("{kind}{name}.test:{}", forbidden.port)))
        .collect();
    let places: Vec<&str> = places.iter().map(String::as_str).collect();
    let mut stage = Setting::default().connect(&places).resolver(resolver()).start();
    for name in ["near", "six", "mapped", "compatible", "translated", "zero", "link"] {
        try_all(&mut stage, &forbidden, &format!("{name}.test"), |met| {
            met.denied(&format!("DNS leads {name}.test to "));
        });
    }
    // One that leads elsewhere too is tried there, and nowhere else. To where nobody is: its time runs out, or there is no way.
    let with = json!({"host": "both.test", "port": forbidden.port});
    stage.attempt("both", "connect-tcp", &with, 1000).failed("met ");
    forbidden.assert_unvisited("both");
    // One that changes its mind after it was looked at.
    let with = json!({"host": "flip.test", "port": forbidden.port});
    for round in 0..4 {
        stage.attempt(&format!("flip {round}"), "connect-tcp", &with, 1000).failed("met ");
        forbidden.assert_unvisited("flip");
    }
}

#[test]
fn names_that_are_not_granted_are_not_looked_up() {
    let mut stage = Setting::default().resolve(&["*.inside.test"]).resolver(resolver()).start();
    for name in ["near.test", "inside.test", "xinside.test", "inside.test.near.test", "localhost"] {
        let met = stage.attempt(name, "resolve", &json!({"name": name}), 1000);
        met.denied(&format!("add \"{name}\" to allow.resolve"));
    }
    for name in ["", "a b", "near.test\0", "*.inside.test", "127.1"] {
        stage.attempt(name, "resolve", &json!({"name": name}), 1000).failed("met ");
    }
    let mut stage = Setting::default().start();
    stage.attempt("servers", "dns-servers", &json!({}), AMPLE).denied("to allow.resolve");
}

#[test]
fn redirects_lead_to_no_place_that_is_not_granted() {
    let forbidden = Forbidden::new();
    let port = forbidden.port;
    let web = Web::start(move |path, stream| {
        let own = stream.local_addr().unwrap();
        let to = match path {
            "/port" => format!("http://127.0.0.1:{port}/"),
            "/relative" => format!("//127.0.0.1:{port}/"),
            "/host" => format!("http://127.0.0.2:{}/", own.port()),
            "/metadata" => "http://169.254.169.254/latest/meta-data/".to_owned(),
            "/secure" => format!("https://127.0.0.1:{port}/"),
            "/file" => "file:///etc/passwd".to_owned(),
            "/gopher" => format!("gopher://127.0.0.1:{port}/"),
            "/user" => format!("http://{own}@127.0.0.1:{port}/"),
            "/slashes" => format!("http:///127.0.0.1:{port}/"),
            "/old" => format!("http://2130706433:{port}/"),
            _ => path.to_owned(),
        };
        send(stream, "302 Found", &format!("location: {to}\r\n"), "");
    });
    let mut stage = Setting::default().connect(&[&web.place()]).start();
    let url = |path: &str| json!({"url": format!("http://{}/{path}", web.place()), "wanted": "root:"});
    for path in ["port", "relative", "host", "metadata", "secure", "old"] {
        stage.attempt(path, "fetch", &url(path), 2000).denied("to allow.connect");
        forbidden.assert_unvisited(path);
    }
    for path in ["file", "gopher", "user", "slashes"] {
        stage.attempt(path, "fetch", &url(path), 2000).failed("met ");
        forbidden.assert_unvisited(path);
    }
    let before = web.requests.load(Ordering::SeqCst);
    stage.attempt("a loop", "fetch", &url("loop"), 5000).failed("302 from ");
    assert_eq!(web.requests.load(Ordering::SeqCst), before + 11);
}

#[test]
fn no_url_field_or_method_says_more_than_it_should() {
    let forbidden = Forbidden::new();
    let port = forbidden.port;
    let web = Web::start(|_, stream| send(stream, "200 OK", "", "harmless"));
    let place = web.place();
    let mut stage = Setting::default().connect(&[&place]).start();
    for url in [
        format!("http://{place}@127.0.0.1:{port}/"),
        format!("http://user:secret@{place}/"),
        format!("http://{place}\\@127.0.0.1:{port}/"),
        format!("http://{place}/\r\nhost: other.test"),
        format!("http://{place}/ HTTP/1.1\r\nx: y\r\n\r\n"),
        format!("http://{place}/\0"),
        format!("ftp://{place}/"),
        format!("unix://{place}/"),
        "file:///etc/passwd".to_owned(),
        "/etc/passwd".to_owned(),
        "http://".to_owned(),
        "http:///".to_owned(),
        String::new(),
    ] {
        stage.attempt(&url, "fetch", &json!({"url": url, "wanted": ""}), 2000).failed("Invalid(");
        forbidden.assert_unvisited(&url);
    }
    let url = format!("http://{place}/");
    for (field, value) in [
        ("x", "y\r\nhost: other.test"),
        ("x", "y\n"),
        ("x", "y\0"),
        ("x\r\nz", "y"),
        ("x:", "y"),
        ("", "y"),
        ("host", "other.test"),
        ("Content-Length", "7"),
        ("Transfer-Encoding", "chunked"),
        ("connection", "upgrade"),
        ("upgrade", "websocket"),
    ] {
        let with = json!({"url": url, "wanted": "", "field": field, "value": value});
        stage.attempt(&format!("{field:?}: {value:?}"), "fetch", &with, 2000).failed("Invalid(");
    }
    for method in ["", "GET / HTTP/1.1\r\nx: y\r\n\r\nGET", "GET ", "CONNECT"] {
        let with = json!({"url": url, "wanted": "", "method": method});
        stage.attempt(&format!("{method:?}"), "fetch", &with, 2000).failed("Invalid(");
    }
    assert_eq!(web.requests.load(Ordering::SeqCst), 0);
    // What stands after the fragment's mark is no host.
    let with = json!({"url": format!("http://{place}#@127.0.0.1:{port}/"), "wanted": "secret"});
    stage.attempt("a fragment", "fetch", &with, 2000).failed("200 from ");
    forbidden.assert_unvisited("a fragment");
}

#[test]
fn a_server_that_floods_drips_or_babbles_is_bounded() {
    let web = Web::start(|path, stream| {
        let chunk = "x".repeat(64 * 1024);
        let endless = |stream: &mut std::net::TcpStream, head: &str| {
            let mut going = stream.write_all(head.as_bytes());
            while going.is_ok() {
                going = stream.write_all(chunk.as_bytes());
            }
        };
        match path {
            "/endless" => endless(stream, "HTTP/1.1 200 OK\r\n\r\n"),
            "/claims" => endless(stream, "HTTP/1.1 200 OK\r\ncontent-length: 99999999999999\r\n\r\n"),
            "/field" => endless(stream, "HTTP/1.1 200 OK\r\nx: "),
            "/status" => endless(stream, "HTTP/1.1 200 "),
            "/chunk" => endless(stream, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nffffffffffffffff\r\n"),
            "/fields" => send(stream, "200 OK", &"x: y\r\n".repeat(20_000), ""),
            "/hints" => while stream.write_all(b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n").is_ok() {},
            "/silence" => {
                let _gone = stream.read(&mut [0; 1]);
            }
            _ => {
                let _gone = stream.write_all(b"\0\x16\x03\x01 this is no HTTP\r\n\r\n");
            }
        }
    });
    let mut stage = Setting::default().connect(&[&web.place()]).start();
    for (path, said) in [
        ("endless", "200 from "),
        ("claims", "200 from "),
        ("field", "Other("),
        ("status", "Other("),
        ("chunk", "200 from "),
        ("fields", "Other("),
        ("hints", "comes before the answer's content"),
        ("silence", "met TimedOut"),
        ("babble", "Other("),
    ] {
        let with = json!({"url": format!("http://{}/{path}", web.place()), "wanted": "secret"});
        stage.attempt(path, "fetch", &with, 2000).failed(said);
    }
}

#[test]
fn sockets_that_are_not_granted_are_denied_and_those_without_a_path_are_none() {
    let folder = std::env::temp_dir().join(format!("hilum-attack-sockets-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let listeners: Vec<UnixListener> = ["granted", "other"]
        .into_iter()
        .map(|name| {
            let listener = UnixListener::bind(path(name)).unwrap();
            fs::set_permissions(path(name), Permissions::from_mode(0o777)).unwrap();
            listener.set_nonblocking(true).unwrap();
            listener
        })
        .collect();
    let mut stage = Setting::default().connect(&[&format!("unix:{}", path("granted"))]).start();
    for path in [path("other"), path("granted2"), "/run/docker.sock".to_owned()] {
        stage
            .attempt(&path, "connect-unix", &json!({"path": path}), AMPLE)
            .denied(&format!("add \"unix:{path}\" to allow.connect"));
    }
    for path in [
        "\0abstract".to_owned(),
        "@abstract".to_owned(),
        String::new(),
        "granted".to_owned(),
        path("x/../granted"),
        path("./granted"),
        format!("{}\0", path("granted")),
        format!("/{}", "x".repeat(200)),
    ] {
        stage.attempt(&format!("{path:?}"), "connect-unix", &json!({"path": path}), AMPLE).failed("Invalid(");
    }
    assert!(listeners.iter().all(|listener| listener.accept().is_err()));
    let with = json!({"kind": "unix", "path": path("granted"), "times": 10_000});
    stage.attempt("hoarding sockets", "hoard", &with, AMPLE).failed("16 opened");
    fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn connections_that_are_never_dropped_are_few_and_end_with_the_call() {
    let port = serve(|mut stream| {
        let _gone = stream.read(&mut [0; 1]);
    });
    let mut stage = Setting::default().connect(&["127.0.0.1:*", "udp:127.0.0.1:*"]).start();
    let with = |kind: &str, times: u32| json!({"kind": kind, "host": "127.0.0.1", "port": port, "times": times});
    for kind in ["tcp", "udp"] {
        stage.attempt(&format!("hoarding {kind}"), "hoard", &with(kind, 10_000), AMPLE).failed("16 opened");
        for met in stage.attempt_times(&format!("hoarding {kind} in many calls"), "hoard", &with(kind, 100), AMPLE, 20)
        {
            met.failed("16 opened");
        }
    }
    stage.attempt("opening and dropping tcp", "churn", &with("tcp", 2000), AMPLE).failed("2000 opened");
    stage.attempt("opening and dropping udp", "churn", &with("udp", 10_000), AMPLE).failed("10000 opened");
}

#[test]
fn a_peer_that_pours_for_ever_is_drunk_from_no_longer_than_the_call() {
    let port = serve(|mut stream| while stream.write_all(&[0; 65_536]).is_ok() {});
    let with: Value = json!({"host": "127.0.0.1", "port": port});
    let mut stage = Setting::default().connect(&[&format!("127.0.0.1:{port}")]).start();
    for met in stage.attempt_times("drinking", "drink", &with, BRIEF, 8) {
        met.failed_or_late(" bytes");
    }
}
