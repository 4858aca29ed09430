//! The one place where connections are answered. What comes back is what was sent, so that the input says what the host has to read; after the
//! head of an HTTP request it is the request's content, and then the end.

use std::io;
use std::net;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

/// Bytes of one request. As many as the host may send at once, and a head.
const MAX_REQUEST: usize = (1 << 20) + (64 << 10);

/// Answers for as long as the loop runs, on which this is called.
pub(super) fn start(listener: &net::TcpListener, socket: &net::UdpSocket) -> io::Result<()> {
    let listener = TcpListener::from_std(listener.try_clone()?)?;
    let socket = UdpSocket::from_std(socket.try_clone()?)?;
    tokio::spawn(async move {
        // One that was given up before it was accepted is no reason to stop.
        loop {
            if let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream));
            }
        }
    });
    tokio::spawn(async move {
        let mut datagram = vec![0; 1 << 16];
        loop {
            if let Ok((length, from)) = socket.recv_from(&mut datagram).await {
                let _gone = socket.send_to(&datagram[..length], from).await;
            }
        }
    });
    Ok(())
}

/// Serves one connection to its end, whoever ends it.
async fn answer(mut stream: TcpStream) -> io::Result<()> {
    let mut bytes = vec![0; 1 << 16];
    let mut request = Vec::new();
    loop {
        let length = stream.read(&mut bytes).await?;
        if length == 0 {
            return stream.shutdown().await;
        }
        request.extend_from_slice(&bytes[..length]);
        if !is_http(&request) || request.len() > MAX_REQUEST {
            stream.write_all(&request).await?;
            request.clear();
        } else if let Some(content) = content(&request) {
            stream.write_all(content).await?;
            return stream.shutdown().await;
        }
    }
}

fn is_http(request: &[u8]) -> bool {
    let line = request.split(|byte| *byte == b'\n').next().unwrap_or_default();
    line.ends_with(b" HTTP/1.1\r")
}

/// The content, once it is all there.
fn content(request: &[u8]) -> Option<&[u8]> {
    let head = request.windows(4).position(|four| four == b"\r\n\r\n")?;
    let content = &request[head + 4..];
    let fields = String::from_utf8_lossy(&request[..head]).to_ascii_lowercase();
    let length = fields.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
    (content.len() >= length.unwrap_or(0)).then_some(content)
}
