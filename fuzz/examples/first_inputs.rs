//! Writes the first inputs of the targets that take more than text: `cargo run --no-default-features --example first_inputs` in this folder. To be
//! run again when a function is added to `wit/`, for inputs of `host_calls` name functions by number, and when the frames of `core/wire` change.
#![forbid(unsafe_code)]

use std::error::Error;
use std::fs;
use std::path::Path;

use hilum_fuzz::component::samples;
use hilum_fuzz::host_calls::script::Argument::{
    self, Any, Bytes, Former, Length, List, Number, Result as Usual, Small, Text, Wide,
};
use hilum_fuzz::host_calls::script::{Script, functions};
use hilum_fuzz::host_calls::{PEER_PORTS, Place};
use hilum_fuzz::wire_frames;

fn text(bytes: &str) -> Argument {
    Bytes(bytes.as_bytes().to_vec())
}

fn place(place: Place, rest: &str) -> Argument {
    Text(place, rest.as_bytes().to_vec())
}

/// A request, from the method to the number of redirects, and zeros for the rest.
fn fetch(method: &str, url: Argument, headers: &[(&str, &str)], answer: &str, redirects: u8) -> Script {
    let count = u8::try_from(headers.len()).unwrap_or(u8::MAX);
    let fields = headers.iter().flat_map(|(name, value)| [text(name), Length, text(value), Length]).collect();
    let record =
        [text(method), Length, url, Length, List(fields), Small(count), text(answer), Length, Small(redirects)];
    Script::default().call("http.fetch", &[List([record.to_vec(), vec![Small(0); 12]].concat()), Usual])
}

fn connected() -> Script {
    let [tcp, _] = PEER_PORTS;
    Script::default().call("tcp.connect", &[place(Place::Address, ""), Length, Number(tcp), Usual])
}

fn scripts() -> Vec<(&'static str, Script)> {
    let [tcp, udp] = PEER_PORTS;
    let start = Script::default;
    let file = || place(Place::File, "");
    let method = |name: &str| format!("connection.[method]connection.{name}");
    let socket = |name: &str| format!("udp.[method]socket.{name}");
    let ok = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
    let moved = "HTTP/1.1 307 Moved\r\nlocation: /b\r\ncontent-length: 0\r\n\r\n";
    let mut scripts = vec![
        ("log", start().call("log.write", &[Small(3), text("a\n\u{202e}b"), Length])),
        ("clock", start().call("clock.sleep", &[Small(2)]).call("clock.remaining-ms", &[])),
        (
            "settings",
            start()
                .call("settings.get", &[text("/table/a~1b"), Length, Usual])
                .call("settings.keys", &[text("/list"), Length, Usual]),
        ),
        (
            "state",
            start()
                .call("state.set", &[text("k"), Length, Small(1), text("v"), Length, Usual])
                .call(
                    "state.compare-and-set",
                    &[text("k"), Length, Small(1), text("v"), Length, Small(1), Any(0), Number(12), Usual],
                )
                .call("state.get", &[text("k"), Length, Usual])
                .call("state.keys", &[Usual])
                .call("state.set", &[text("k"), Length, Small(0), Small(0), Small(0), Usual]),
        ),
        (
            "metrics",
            start()
                .call(
                    "metrics.count",
                    &[
                        text("a"),
                        Length,
                        List(vec![text("l"), Length, text("v"), Length]),
                        Small(1),
                        Wide(1_f64.to_bits()),
                        Usual,
                    ],
                )
                .call("metrics.gauge", &[text("b"), Length, Small(0), Small(0), Wide(f64::NAN.to_bits()), Usual]),
        ),
        (
            "files",
            start()
                .call("files.status", &[file(), Length, Usual])
                .call("files.read", &[file(), Length, Small(0), Small(2), Number(14), Usual])
                .call("files.list", &[place(Place::Folder, ""), Length, Usual])
                .call("files.write", &[place(Place::Folder, "/a"), Length, text("new"), Length, Small(0), Usual])
                .call("files.write", &[place(Place::Folder, "/sub/a"), Length, text("new"), Length, Small(1), Usual])
                .call("files.write", &[place(Place::Folder, "/a"), Length, text("new"), Length, Small(2), Usual])
                .call("files.remove", &[place(Place::Folder, "/a"), Length, Usual]),
        ),
        (
            "out",
            start()
                .call("files.read", &[place(Place::Link, "/secret"), Length, Small(0), Small(0), Number(14), Usual])
                .call(
                    "files.write",
                    &[place(Place::Folder, "/../beside/x"), Length, text("x"), Length, Small(0), Usual],
                )
                .call("files.write", &[place(Place::Beside, "/x"), Length, text("x"), Length, Small(0), Usual]),
        ),
        ("environment", start().call("environment.get", &[place(Place::Variable, ""), Length, Usual])),
        ("command", start().call("command.run", &[place(Place::Command, ""), Length, Usual])),
        ("processes", start().call("processes.list", &[Usual])),
        ("dns", start().call("dns.resolve", &[place(Place::Name, ""), Length, Usual]).call("dns.servers", &[Usual])),
        (
            "tcp",
            connected()
                .call(&method("write"), &[Former(0), text("hello"), Length, Usual])
                .call(&method("read"), &[Small(1), Number(6), Usual])
                .call(&method("shutdown-write"), &[Small(1), Usual])
                .call(&method("read"), &[Small(1), Number(6), Usual])
                .call("connection.[resource-drop]connection", &[Small(1)]),
        ),
        (
            "refused",
            start()
                .call("tcp.connect", &[place(Place::Address, ""), Length, Number(2), Usual])
                .call("tcp.connect", &[text("::1"), Length, Number(tcp), Usual])
                .call("unix.connect", &[place(Place::Socket, ""), Length, Usual])
                .call("tcp.connect", &[place(Place::Name, ""), Length, Number(tcp), Usual]),
        ),
        (
            "udp",
            start()
                .call("udp.connect", &[place(Place::Address, ""), Length, Number(udp), Usual])
                .call(&socket("send"), &[Former(0), text("hello"), Length, Usual])
                .call(&socket("receive"), &[Small(1), Number(6), Usual])
                .call("udp.connect", &[place(Place::Address, ""), Length, Number(2), Usual])
                .call(&socket("send"), &[Former(0), text("hello"), Length, Usual])
                .call(&socket("send"), &[Small(2), text("hello"), Length, Usual])
                .call("udp.[resource-drop]socket", &[Small(2)]),
        ),
        (
            "tls",
            connected().call(
                "tls.wrap",
                &[
                    vec![Former(0), place(Place::Name, ""), Length, Small(2), Small(0), Small(0)],
                    vec![Small(0); 5],
                    vec![List(vec![text("h2"), Length]), Small(1), Usual],
                ]
                .concat(),
            ),
        ),
        ("protocol", connected().call("tls.protocol", &[Former(0), Usual])),
        ("http", fetch("POST", place(Place::Http, "a"), &[("accept", "*/*")], ok, 0)),
        ("chunked", fetch("POST", place(Place::Http, "a?b"), &[], chunked, 0)),
        ("redirected", fetch("POST", place(Place::Http, "a"), &[("cookie", "x")], moved, 3)),
        ("https", fetch("GET", place(Place::Https, ""), &[], "", 0)),
    ];
    // The same with all ways in which a guest gives memory.
    for (how, name) in ["crooked", "beyond", "growing", "none", "same", "calling", "zero"].into_iter().enumerate() {
        let how = u8::try_from(how + 1).unwrap_or(u8::MAX);
        scripts
            .push((name, start().giving(how).call("random.bytes", &[Small(100), Usual]).call("state.keys", &[Usual])));
    }
    scripts
}

fn main() -> Result<(), Box<dyn Error>> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let write = |target: &str, name: &str, bytes: &[u8]| {
        let folder = corpus.join(target);
        fs::create_dir_all(&folder)?;
        fs::write(folder.join(format!("first-{name}")), bytes)
    };
    for (name, script) in scripts() {
        write("host_calls", name, &script.0)?;
    }
    let every = functions().iter().fold(Script::default(), |script, name| script.call(name, &[]));
    write("host_calls", "every", &every.0)?;
    for (name, frame) in wire_frames::samples::samples() {
        write("wire_frames", &name, &frame)?;
    }
    for (name, bytes) in samples::plugins().into_iter().chain(samples::others()) {
        write("component", name, &bytes)?;
    }
    let (name, plain) = &samples::plugins()[0];
    for parts in 1..4 {
        write("component", &format!("{name}-{parts}-of-4"), &plain[..plain.len() * parts / 4])?;
    }
    Ok(())
}
