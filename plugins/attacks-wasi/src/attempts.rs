//! What is attempted: a few lines of the standard library each.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream, ToSocketAddrs, UdpSocket};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

/// Makes the attempt of this name, if there is one.
pub(crate) fn run(name: &str, with: &str) -> Option<io::Result<()>> {
    Some(match name {
        "read" => fs::read(with).map(drop),
        "write" => fs::write(with, "taken over"),
        "append" => fs::File::options().append(true).open(with).and_then(|mut file| file.write_all(b"taken over")),
        "remove" => fs::remove_file(with),
        "list" => fs::read_dir(with).map(drop),
        "make-folder" => fs::create_dir(with),
        "rename" => fs::rename(with, format!("{with}.moved")),
        "link" => between(with, |from, to| fs::hard_link(from, to)),
        "truncate" => fs::File::options().write(true).truncate(true).open(with).map(drop),
        "variable" => env::var(with).map(drop).map_err(|error| io::Error::new(ErrorKind::NotFound, error)),
        "any-variable" => any(env::vars().count()),
        "any-argument" => any(env::args().count()),
        "any-input" => io::stdin().read(&mut [0; 16]).and_then(any),
        "resolve" => (with, 80).to_socket_addrs().map(drop),
        "connect" => TcpStream::connect(with).and_then(|mut stream| stream.write_all(b"hello\n")),
        "greet" => TcpStream::connect(with).and_then(|mut stream| greet(&mut stream)),
        "wait" => TcpStream::connect(with).and_then(|mut stream| stream.read(&mut [0; 16])).and_then(any),
        "hoard" => hoard(with),
        "fetch" => fetch(with),
        "listen" => TcpListener::bind(with).map(drop),
        "send" => UdpSocket::bind("0.0.0.0:0").and_then(|socket| socket.send_to(b"hello", with)).map(drop),
        "bind-udp" => UdpSocket::bind(with).map(drop),
        "exit" => end(with),
        "print" => print(with),
        "sleep" => {
            thread::sleep(Duration::from_secs(with.parse().unwrap_or(u64::MAX)));
            Ok(())
        }
        "naps" => naps(),
        "spin" => loop {
            std::hint::black_box(Instant::now());
        },
        "thread" => thread::Builder::new().spawn(|| {}).map(drop),
        "command" => std::process::Command::new(with).status().map(drop),
        _ => return None,
    })
}

fn any(count: usize) -> io::Result<()> {
    if count > 0 { Ok(()) } else { Err(io::Error::new(ErrorKind::NotFound, "there is none")) }
}

/// Two paths, with a space between them.
fn between(with: &str, act: impl Fn(&str, &str) -> io::Result<()>) -> io::Result<()> {
    let (from, to) = with.split_once(' ').unwrap_or((with, with));
    act(from, to)
}

/// Says hello, and wants to hear it again.
fn greet(stream: &mut TcpStream) -> io::Result<()> {
    stream.write_all(b"hello\n")?;
    let mut heard = [0; 6];
    stream.read_exact(&mut heard)?;
    if heard == *b"hello\n" { Ok(()) } else { Err(ErrorKind::InvalidData.into()) }
}

/// Opens connections and keeps them all.
fn hoard(with: &str) -> io::Result<()> {
    let mut kept = Vec::new();
    for _ in 0..10_000 {
        match TcpStream::connect(with) {
            Ok(stream) => kept.push(stream),
            Err(error) => {
                return Err(io::Error::new(error.kind(), format!("{} were opened, then: {error}", kept.len())));
            }
        }
    }
    Ok(())
}

/// Ends the whole guest.
#[expect(clippy::exit, reason = "what is attempted")]
fn end(with: &str) -> io::Result<()> {
    std::process::exit(with.parse().unwrap_or(255))
}

/// Writes a line to both streams, ten thousand times, and a long one.
fn print(with: &str) -> io::Result<()> {
    for _ in 0..10_000 {
        writeln!(io::stdout(), "{with}")?;
        writeln!(io::stderr(), "{with}")?;
    }
    writeln!(io::stdout(), "{}", with.repeat(100_000))?;
    Err(io::Error::other("all was written"))
}

/// Sleeps for next to nothing, again and again.
fn naps() -> io::Result<()> {
    loop {
        thread::sleep(Duration::from_nanos(1));
    }
}

/// Gets a page by `wasi:http`, of `AUTHORITY/PATH`, and wants it to be found.
#[cfg(target_os = "wasi")]
fn fetch(with: &str) -> io::Result<()> {
    use wasip2::http::outgoing_handler::handle;
    use wasip2::http::types::{Fields, OutgoingRequest, Scheme};
    let (authority, path) = with.split_once('/').unwrap_or((with, ""));
    let request = OutgoingRequest::new(Fields::new());
    let built = request
        .set_scheme(Some(&Scheme::Http))
        .and_then(|()| request.set_authority(Some(authority)))
        .and_then(|()| request.set_path_with_query(Some(&format!("/{path}"))));
    built.map_err(|()| io::Error::from(ErrorKind::InvalidInput))?;
    let failed = |error: wasip2::http::types::ErrorCode| io::Error::other(format!("{error:?}"));
    let coming = handle(request, None).map_err(failed)?;
    coming.subscribe().block();
    match coming.get() {
        Some(Ok(Ok(response))) if response.status() == 200 => Ok(()),
        Some(Ok(Ok(response))) => Err(io::Error::other(format!("status {}", response.status()))),
        Some(Ok(Err(error))) => Err(failed(error)),
        Some(Err(())) | None => Err(io::Error::other("there is no answer")),
    }
}

/// Outside of WASI there is no host to ask.
#[cfg(not(target_os = "wasi"))]
fn fetch(_: &str) -> io::Result<()> {
    Err(ErrorKind::Unsupported.into())
}
