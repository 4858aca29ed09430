//! Peers that must not be trusted, and papers that are none. The certificates are files: valid from 2020 to 2120, less the one that has expired and
//! the one that is not valid yet.

use std::io::Read;
use std::net::TcpStream;
use std::sync::Arc;

use hilum_wire::Answer;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};

use crate::peers::serve;
use crate::stage::{AMPLE, BRIEF, Met, Setting, Stage};

const AUTHORITY: &str = include_str!("tls/authority.pem");
const RIGHT: &str = include_str!("tls/right.pem");

/// A server with the certificate and key in `pem`; its port.
fn server(pem: &'static str) -> u16 {
    let chain = CertificateDer::pem_slice_iter(pem.as_bytes()).map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_slice(pem.as_bytes()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let config = Arc::new(config);
    serve(move |stream: TcpStream| {
        let mut stream = StreamOwned::new(ServerConnection::new(Arc::clone(&config)).unwrap(), stream);
        // Whatever comes; whoever asked may have gone.
        let _gone = stream.read_to_end(&mut Vec::new());
    })
}

fn with(port: u16, name: &str) -> Value {
    json!({"host": "127.0.0.1", "port": port, "name": name, "authorities": AUTHORITY})
}

/// The same, showing papers of our own.
fn papers(port: u16, certificates: &str, key: &str) -> Value {
    let (name, authorities) = ("peer.test", AUTHORITY);
    json!({"host": "127.0.0.1", "port": port, "name": name, "authorities": authorities, "certificates": certificates, "key": key})
}

fn attempt(stage: &mut Stage, name: &str, with: &Value) -> Met {
    stage.attempt(name, "start-tls", with, 5000)
}

#[test]
fn only_a_peer_with_the_right_papers_is_trusted() {
    let mut stage = Setting::default().connect(&["127.0.0.1:*"]).start();
    let right = server(RIGHT);
    for (name, pem) in [
        ("a certificate of another name", include_str!("tls/other.pem")),
        ("a certificate signed by itself", include_str!("tls/self.pem")),
        ("an expired certificate", include_str!("tls/expired.pem")),
        ("a certificate of later", include_str!("tls/future.pem")),
    ] {
        let port = server(pem);
        attempt(&mut stage, name, &with(port, "peer.test")).failed("Untrusted(");
        attempt(&mut stage, name, &with(port, "127.0.0.1")).failed("Untrusted(");
    }
    attempt(&mut stage, "the right one for another name", &with(right, "x.peer.test")).failed("Untrusted(");
    attempt(&mut stage, "the right one for another address", &with(right, "127.0.0.2")).failed("Untrusted(");
    for name in ["", "a b", "peer.test\0.other.test", "*.test", "peer.test/x"] {
        attempt(&mut stage, &format!("{name:?}"), &with(right, name)).failed("Invalid(");
    }
    // And with none of that it works: the same attempt is let through.
    for name in ["peer.test", "127.0.0.1"] {
        let id = stage.ask("start-tls", &with(right, name), 5000);
        assert_eq!(stage.answer(id).0, Answer::Pass, "{name}");
    }
}

#[test]
fn papers_that_are_none_are_refused() {
    let mut stage = Setting::default().connect(&["127.0.0.1:*"]).start();
    let right = server(RIGHT);
    let damaged = AUTHORITY.replacen("MII", "MIJ", 1);
    let garbage = [
        "",
        "garbage",
        "-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n",
        &damaged,
        RIGHT.rsplit_once("-----BEGIN").unwrap().1,
    ];
    for pem in garbage {
        let with = json!({"host": "127.0.0.1", "port": right, "name": "peer.test", "authorities": pem});
        attempt(&mut stage, "authorities that are none", &with).failed("Invalid(");
        attempt(&mut stage, "a certificate of ours that is none", &papers(right, pem, RIGHT)).failed("Invalid(");
    }
    for key in ["", "garbage", AUTHORITY, "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"] {
        attempt(&mut stage, "a key that is none", &papers(right, RIGHT, key)).failed("Invalid(");
    }
    let other = include_str!("tls/other.pem");
    attempt(&mut stage, "a key of another certificate", &papers(right, other, RIGHT)).failed("Invalid(");
}

#[test]
fn a_flood_of_authorities_is_bounded() {
    let mut stage = Setting::default().connect(&["127.0.0.1:*"]).start();
    let port = server(include_str!("tls/self.pem"));
    let with = |size: u32, times: u32| json!({"host": "127.0.0.1", "port": port, "authority": AUTHORITY, "size": size, "times": times});
    stage.attempt("ten megabytes of authorities", "pem-flood", &with(10_000_000, 1), AMPLE).broken("trap");
    for met in stage.attempt_times("a megabyte of authorities, many times", "pem-flood", &with(1_000_000, 5), AMPLE, 8)
    {
        met.failed("met ");
    }
}

#[test]
fn a_peer_that_speaks_something_else_is_not_waited_for() {
    let mut stage = Setting::default().connect(&["127.0.0.1:*"]).start();
    let babbling = serve(|mut stream| {
        let _gone =
            std::io::Write::write_all(&mut stream, b"220 mail.test ESMTP ready when you are, and no sooner\r\n");
        let _gone = stream.read(&mut [0; 1024]);
    });
    attempt(&mut stage, "mail", &with(babbling, "peer.test")).failed("Untrusted(");
    let silent = serve(|mut stream| while stream.read(&mut [0; 1024]).is_ok_and(|count| count > 0) {});
    stage.attempt("silence", "start-tls", &with(silent, "peer.test"), BRIEF).failed("TimedOut");
}
