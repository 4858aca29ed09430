//! WASI 0.2 for guests of ordinary toolchains, behind the same grants as `hilum:host`.
//!
//! wasmtime's own implementation does the work. What it would do by itself is replaced where it reaches outside: names are looked up only if
//! they are granted, sockets and HTTP requests go only to granted places, directories are the granted ones, variables too, and what is written
//! to the standard streams goes to the log. Standard input is empty, there are no arguments, and nothing listens.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use hilum_sys::open::{Beneath, beneath};
use http_body_util::BodyExt;
use hyper::body::Bytes;
use hyper::{Request, Response, Uri};
use wasmtime::component::{HasSelf, Linker, Resource, ResourceTable};
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::filesystem::{Descriptor, Dir};
use wasmtime_wasi::p2::bindings::filesystem::preopens;
use wasmtime_wasi::p2::bindings::sockets::ip_name_lookup;
use wasmtime_wasi::p2::bindings::sockets::network::{self, ErrorCode, IpAddress, Network};
use wasmtime_wasi::p2::{self, DynPollable, OutputStream, Pollable, SocketError, StreamResult};
use wasmtime_wasi::sockets::{SocketAddrUse, WasiSocketsView};
use wasmtime_wasi::{FsPerms, OpenMode, WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{RequestOptions, WasiBody, WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks, WasiHttpView};

use crate::bindings::host::connection::Error;
use crate::bindings::host::tls::Trust;
use crate::grant::{Endpoint, Grants, Transport};
use crate::host::State;
use crate::host::kept::Kept;
use crate::host::network::{Dialer, Peer, exchange};
use crate::text::{MAX_TEXT, clean};

/// Bytes a guest may write to a standard stream at a time, and the longest line.
const MAX_WRITE: usize = 4096;

/// What WASI keeps for one call.
pub(crate) struct Wasi {
    ctx: WasiCtx,
    http: WasiHttpCtx,
    web: Web,
}

/// What a call shares with what runs beside it, in the functions WASI calls back.
#[derive(Clone)]
struct Guard {
    grants: Arc<Grants>,
    kept: Arc<Kept>,
    dialer: Dialer,
    /// Denials and lines, as those of the call itself are counted.
    denied: Arc<AtomicU32>,
}

/// Lines about denials that one call's WASI functions write.
const MAX_DENIALS: u32 = 16;

impl Guard {
    fn deny(&self, why: &str) {
        if self.denied.fetch_add(1, Ordering::Relaxed) < MAX_DENIALS {
            self.kept.uplink.log("warn", clean(&format!("denied: {why}"), MAX_TEXT));
        }
    }

    /// Whether a socket may be used so.
    async fn may(&self, address: SocketAddr, usage: SocketAddrUse) -> bool {
        let transport = match usage {
            SocketAddrUse::TcpConnect => Transport::Tcp,
            SocketAddrUse::UdpSend => Transport::Udp,
            // What every client does; nothing is bound to a place that others know.
            SocketAddrUse::TcpBind | SocketAddrUse::UdpBind => return address.port() == 0,
            // Datagrams that came in; from whom does not matter, as nobody but the asked knows the port.
            SocketAddrUse::UdpReceive => return true,
            SocketAddrUse::TcpListen | SocketAddrUse::TcpAccept => {
                self.deny("listening is not offered to plugins");
                return false;
            }
        };
        let (ip, port) = (address.ip().to_canonical(), address.port());
        if self.grants.may_connect(transport, &ip.to_string(), port) || self.is_named(transport, ip, port).await {
            return true;
        }
        let place = Endpoint::spell(transport, &ip.to_string(), port);
        self.deny(&format!(
            "connect to {place} is not granted; to allow it, add \"{place}\" to allow.connect of this plugin"
        ));
        false
    }

    /// Whether a granted name leads to the address, by the rules of [`Dialer::find`].
    async fn is_named(&self, transport: Transport, ip: IpAddr, port: u16) -> bool {
        for name in self.grants.names(transport, port) {
            if let Ok(found) = self.dialer.find(transport, name, port).await
                && found.iter().any(|address| address.ip().to_canonical() == ip)
            {
                return true;
            }
        }
        false
    }
}

impl fmt::Debug for Wasi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wasi").finish_non_exhaustive()
    }
}

impl Wasi {
    fn new(state: &State) -> Wasi {
        let guard = Guard {
            grants: Arc::clone(&state.grants),
            kept: Arc::clone(&state.kept),
            dialer: state.dialer(),
            denied: Arc::default(),
        };
        let mut builder = WasiCtx::builder();
        let log = |level| Log { kept: Arc::clone(&state.kept), level, line: Vec::new(), lines: Arc::default() };
        builder.stdout(log("info")).stderr(log("warn"));
        for (name, value) in &state.grants.env {
            if let Some(value) = value {
                builder.env(name, value);
            }
        }
        let checking = guard.clone();
        builder.socket_addr_check(move |address, usage| {
            let guard = checking.clone();
            Box::pin(async move { guard.may(address, usage).await })
        });
        // Which places and names, is asked of us; without these it is nowhere and none.
        builder.allow_tcp(true).allow_udp(true).allow_ip_name_lookup(true);
        Wasi { ctx: builder.build(), http: WasiHttpCtx::new(), web: Web { guard } }
    }

    /// How often it asked for what is not granted.
    pub(crate) fn denied(&self) -> u32 {
        self.web.guard.denied.load(Ordering::Relaxed)
    }
}

impl State {
    /// What WASI keeps, and the table beside it. Made for the first call into WASI.
    fn wasi(&mut self) -> (&mut Wasi, &mut ResourceTable) {
        let wasi = self.wasi.take().unwrap_or_else(|| Box::new(Wasi::new(self)));
        (self.wasi.insert(wasi), &mut self.table)
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let (wasi, table) = self.wasi();
        WasiCtxView { ctx: &mut wasi.ctx, table }
    }
}

impl WasiHttpView for State {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        let (Wasi { http, web, .. }, table) = self.wasi();
        WasiHttpCtxView { ctx: http, table, hooks: web }
    }
}

/// Links WASI over what is linked already.
pub(crate) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    p2::add_to_linker_async(linker)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(linker)?;
    linker.allow_shadowing(true);
    preopens::add_to_linker::<State, HasSelf<State>>(linker, |state| state)?;
    ip_name_lookup::add_to_linker::<State, HasSelf<State>>(linker, |state| state)?;
    linker.allow_shadowing(false);
    Ok(())
}

impl preopens::Host for State {
    /// The granted directories, by their granted paths. Granted files are none: WASI begins with directories.
    fn get_directories(&mut self) -> wasmtime::Result<Vec<(Resource<Descriptor>, String)>> {
        let grants = Arc::clone(&self.grants);
        let mut opened = Vec::new();
        for tree in &grants.files {
            let rest = if tree.rest.as_os_str().is_empty() { std::path::Path::new(".") } else { &tree.rest };
            // One that is not there yet, or is a file, is left out.
            let Ok(directory) = beneath(tree.anchor.as_fd(), rest, Beneath::List) else { continue };
            let (permissions, mode) = if tree.write {
                (FsPerms::ReadWrite, OpenMode::READ | OpenMode::WRITE)
            } else {
                (FsPerms::ReadOnly, OpenMode::READ)
            };
            let directory = Descriptor::Dir(Dir::new(directory.into(), permissions, mode, false));
            opened.push((self.table.push(directory)?, tree.path.to_string_lossy().into_owned()));
        }
        Ok(opened)
    }
}

impl network::Host for State {
    fn convert_error_code(&mut self, error: SocketError) -> wasmtime::Result<ErrorCode> {
        error.downcast()
    }

    fn network_error_code(&mut self, error: Resource<wasmtime::Error>) -> wasmtime::Result<Option<ErrorCode>> {
        network::Host::network_error_code(&mut self.sockets(), error)
    }
}

impl network::HostNetwork for State {
    fn drop(&mut self, this: Resource<Network>) -> wasmtime::Result<()> {
        network::HostNetwork::drop(&mut self.sockets(), this)
    }
}

impl ip_name_lookup::Host for State {
    fn resolve_addresses(
        &mut self,
        network: Resource<Network>,
        name: String,
    ) -> Result<Resource<ip_name_lookup::ResolveAddressStream>, SocketError> {
        if name.parse::<IpAddr>().is_err() && !self.grants.may_resolve(&name) {
            let name = clean(&name, 256);
            self.deny(&format!(
                "looking up {name} is not granted; to allow it, add \"{name}\" to allow.resolve of this plugin"
            ));
            return Err(ErrorCode::AccessDenied.into());
        }
        ip_name_lookup::Host::resolve_addresses(&mut self.sockets(), network, name)
    }
}

impl ip_name_lookup::HostResolveAddressStream for State {
    fn resolve_next_address(
        &mut self,
        stream: Resource<ip_name_lookup::ResolveAddressStream>,
    ) -> Result<Option<IpAddress>, SocketError> {
        ip_name_lookup::HostResolveAddressStream::resolve_next_address(&mut self.sockets(), stream)
    }

    fn subscribe(
        &mut self,
        stream: Resource<ip_name_lookup::ResolveAddressStream>,
    ) -> wasmtime::Result<Resource<DynPollable>> {
        ip_name_lookup::HostResolveAddressStream::subscribe(&mut self.sockets(), stream)
    }

    fn drop(&mut self, stream: Resource<ip_name_lookup::ResolveAddressStream>) -> wasmtime::Result<()> {
        ip_name_lookup::HostResolveAddressStream::drop(&mut self.sockets(), stream)
    }
}

/// A standard stream whose lines go to the log.
#[derive(Clone)]
struct Log {
    kept: Arc<Kept>,
    level: &'static str,
    line: Vec<u8>,
    /// Lines written; all handles of the stream share it.
    lines: Arc<AtomicU32>,
}

/// Lines of one standard stream that are taken from one call.
const MAX_LINES: u32 = 64;

impl Log {
    fn end_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        match self.lines.fetch_add(1, Ordering::Relaxed) {
            count if count < MAX_LINES => {
                self.kept.uplink.log(self.level, clean(&String::from_utf8_lossy(&line), MAX_TEXT))
            }
            MAX_LINES => {
                self.kept.uplink.log("warn", format!("more lines of this call dropped; the limit is {MAX_LINES}"))
            }
            _ => {}
        }
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        if !self.line.is_empty() {
            self.end_line();
        }
    }
}

impl IsTerminal for Log {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Log {
    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }

    fn async_stream(&self) -> Box<dyn tokio::io::AsyncWrite + Send + Sync> {
        // Of WASI 0.3, which is not served.
        Box::new(tokio::io::sink())
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Log {
    async fn ready(&mut self) {}
}

impl OutputStream for Log {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        for byte in bytes {
            if byte == b'\n' {
                self.end_line();
            } else if self.line.len() < MAX_WRITE {
                self.line.push(byte);
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(MAX_WRITE)
    }
}

/// `wasi:http` requests, sent by the host.
struct Web {
    guard: Guard,
}

type Sent = (Response<WasiBody>, Box<dyn Future<Output = Result<(), wasmtime_wasi_http::Error>> + Send>);

impl WasiHttpHooks for Web {
    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _: Box<dyn Future<Output = Result<(), wasmtime_wasi_http::Error>> + Send>,
    ) -> Box<dyn Future<Output = Result<Sent, wasmtime_wasi_http::Error>> + Send> {
        let guard = self.guard.clone();
        Box::new(async move {
            let patience = options.and_then(|options| options.first_byte_timeout).unwrap_or(Duration::MAX);
            let sent = tokio::time::timeout(patience, send(&guard, request)).await;
            sent.unwrap_or(Err(Error::TimedOut)).map_err(|error| failure(&guard, error))
        })
    }
}

async fn send(guard: &Guard, mut request: Request<WasiBody>) -> Result<Sent, Error> {
    let target = request.uri().clone();
    let path = target.path_and_query().map_or("/", |path| path.as_str());
    *request.uri_mut() = path.parse::<Uri>().map_err(|error| Error::Invalid(error.to_string()))?;
    let peer = Peer { trust: Trust::System, name: None, identity: None };
    let (response, turning) = exchange(&guard.dialer, &target, peer, request).await?;
    let held: Pin<Box<dyn Future<Output = Result<(), wasmtime_wasi_http::Error>> + Send>> = Box::pin(async move {
        let _turning = turning;
        std::future::pending().await
    });
    let body = |body: hyper::body::Incoming| body.map_err(wasmtime_wasi_http::Error::from).boxed_unsync();
    Ok((response.map(body), Box::new(held)))
}

/// What WASI calls it.
fn failure(guard: &Guard, error: Error) -> wasmtime_wasi_http::Error {
    use wasmtime_wasi_http::Error as Http;
    match error {
        Error::Denied(why) => {
            guard.deny(&why);
            Http::HttpRequestDenied
        }
        Error::NameUnresolved(why) => Http::DnsError { rcode: Some(why), info_code: None },
        Error::Refused => Http::ConnectionRefused,
        Error::Unreachable(_) => Http::DestinationUnavailable,
        Error::TimedOut => Http::ConnectionTimeout,
        Error::Closed => Http::ConnectionTerminated,
        Error::Untrusted(_) => Http::TlsCertificateError,
        Error::Limit(_) => Http::ConnectionLimitReached,
        Error::Forbidden(_) => Http::DestinationIpProhibited,
        Error::Invalid(why) | Error::Unsupported(why) | Error::Other(why) => Http::InternalError(Some(why)),
    }
}
