//! The probe against a whole gRPC server: tonic with its health service.

use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use hilum_plugin::native::NativeHost;
use hilum_plugin::{Outcome, Request};
use probe_grpc::ProbeGrpc;
use tokio::sync::oneshot;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server as Tonic;
use tonic::{Request as Asked, Status};
use tonic_health::ServingStatus;

type Tested = Result<(), Box<dyn std::error::Error>>;

/// What the server is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// With a health service.
    Healthy,
    /// With one that asks for a token.
    Guarded,
    /// With services, but none for health.
    Bare,
}

/// A server that ends with the test.
struct Server {
    port: u16,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Lets in who has the token, whatever it takes to say so.
fn guard(asked: Asked<()>) -> Result<Asked<()>, Status> {
    match asked.metadata().get("authorization").map(|value| value.to_str()) {
        Some(Ok("Bearer hunter2")) => Ok(asked),
        Some(Ok(other)) => Err(Status::permission_denied(format!("not with {other}; 100% sure\n"))),
        _ => Err(Status::unauthenticated("who are you?")),
    }
}

impl Server {
    /// Starts a server, which listens before this returns.
    fn start(kind: Kind) -> Result<Server, Box<dyn std::error::Error>> {
        let listener = TcpListener::bind::<SocketAddr>(([127, 0, 0, 1], 0).into())?;
        let port = listener.local_addr()?.port();
        listener.set_nonblocking(true)?;
        let (stop, stopped) = oneshot::channel();
        let (up, is_up) = mpsc::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = std::thread::spawn(move || {
            let served = runtime.block_on(async {
                let incoming = TcpListenerStream::new(tokio::net::TcpListener::from_std(listener)?);
                let (reporter, health) = tonic_health::server::health_reporter();
                for (name, status) in [
                    ("well", ServingStatus::Serving),
                    ("ill", ServingStatus::NotServing),
                    ("lost", ServingStatus::Unknown),
                ] {
                    reporter.set_service_status(name, status).await;
                }
                let stopped = async { drop(stopped.await) };
                let _ = up.send(());
                let mut server = Tonic::builder();
                let router = match kind {
                    Kind::Healthy => server.add_service(health),
                    Kind::Guarded => {
                        server.add_service(tonic::service::interceptor::InterceptedService::new(health, guard))
                    }
                    Kind::Bare => server.add_optional_service(
                        None::<tonic_health::pb::health_server::HealthServer<tonic_health::server::HealthService>>,
                    ),
                };
                router.serve_with_incoming_shutdown(incoming, stopped).await?;
                Ok::<(), Box<dyn std::error::Error>>(())
            });
            if let Err(error) = served {
                eprintln!("the server ended: {error}");
            }
        });
        is_up.recv()?;
        Ok(Server { port, stop: Some(stop), thread: Some(thread) })
    }

    /// Probes with `rest` after host and port in the settings.
    fn check(&self, rest: &str) -> Outcome {
        let settings = format!(r#"{{"host": "127.0.0.1", "port": {}{rest}}}"#, self.port);
        let host = NativeHost::new(Duration::from_secs(30)).with_grant("127.0.0.1", self.port);
        hilum_plugin::check::<ProbeGrpc>(&Request { settings, timeout_ms: 30_000, attempt: 1 }, &host)
    }

    fn fails(&self, rest: &str, said: &str) {
        let outcome = self.check(rest);
        assert!(matches!(&outcome, Outcome::Fail(why) if why.contains(said)), "{rest}: {outcome:?}, not {said:?}");
    }
}

#[test]
fn a_server_that_is_serving_passes_again_and_again() -> Tested {
    let server = Server::start(Kind::Healthy)?;
    for _ in 0..10 {
        assert_eq!(server.check(""), Outcome::Pass);
        assert_eq!(server.check(r#", "service": "well""#), Outcome::Pass);
    }
    assert_eq!(server.check(r#", "metadata": {"x-probe": "1"}"#), Outcome::Pass);
    Ok(())
}

#[test]
fn a_server_that_is_not_fails_with_its_word() -> Tested {
    let server = Server::start(Kind::Healthy)?;
    server.fails(r#", "service": "ill""#, "about \"ill\": it says NOT_SERVING");
    server.fails(r#", "service": "lost""#, "it says UNKNOWN");
    server.fails(
        r#", "service": "nobody""#,
        "it answered NOT_FOUND: \"service not registered\"; it does not know the service \"nobody\"",
    );
    let long = "é".repeat(500);
    server.fails(&format!(r#", "service": "{long}""#), "it answered NOT_FOUND");
    Ok(())
}

#[test]
fn a_server_without_a_health_service_fails() -> Tested {
    let server = Server::start(Kind::Bare)?;
    server.fails("", "it answered UNIMPLEMENTED");
    server.fails("", "; it has no health service (grpc.health.v1.Health)");
    Ok(())
}

#[test]
fn metadata_lets_in_and_is_not_shown() -> Tested {
    let server = Server::start(Kind::Guarded)?;
    assert_eq!(server.check(r#", "metadata": {"authorization": "Bearer hunter2"}"#), Outcome::Pass);
    server.fails("", "it answered UNAUTHENTICATED: \"who are you?\"; check metadata");
    server.fails(
        r#", "metadata": {"authorization": "Bearer hunter3"}"#,
        r#"it answered PERMISSION_DENIED: "not with ***; 100% sure\n"; check metadata"#,
    );
    Ok(())
}

#[test]
fn a_server_that_is_gone_refuses() -> Tested {
    let mut server = Server::start(Kind::Healthy)?;
    assert_eq!(server.check(""), Outcome::Pass);
    drop(server.stop.take());
    let ended = server.thread.take().map(JoinHandle::join);
    assert!(matches!(ended, Some(Ok(()))));
    server.fails("", "connection refused");
    Ok(())
}
