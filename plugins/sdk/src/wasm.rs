//! The component's side: generated bindings and their translation. Compiled for guests only.

use std::any::Any;

use crate::host::{
    CommandError, CommandOutput, Connection, Datagrams, Ending, FileError, FileKind, FileStatus, Host, HttpRequest,
    HttpResponse, Identity, Level, NetworkError, Process, ProcessError, ProcessTable, Run, Service, TlsOptions, Trust,
    WriteMode,
};
use crate::plugin::{self, Callback, Plugin, Probe};

/// Bytes that `hilum:host/files.read` returns at most.
const MAX_READ: u32 = 65_536;

// A world of its own for what each kind exports, and one for what all share: two that export the same interface would make the same macro twice.
// `hilumc` merges the worlds of a component.

#[expect(missing_docs, reason = "generated; the documentation is in wit/")]
pub mod plugin_bindings {
    wit_bindgen::generate!({
        path: "../../wit/plugin",
        world: "hilum:plugin/any-plugin",
        generate_all,
        pub_export_macro: true,
        export_macro_name: "export_plugin_world",
    });
}

#[expect(missing_docs, reason = "generated; the documentation is in wit/")]
pub mod probe_bindings {
    wit_bindgen::generate!({
        path: "../../wit/probe",
        inline: "package hilum:sdk; world probe-only { export hilum:probe/probe@0.1.0; }",
        world: "hilum:sdk/probe-only",
        generate_all,
        pub_export_macro: true,
        export_macro_name: "export_probe_world",
    });
}

#[expect(missing_docs, reason = "generated; the documentation is in wit/")]
pub mod callback_bindings {
    wit_bindgen::generate!({
        path: "../../wit/callback",
        inline: "package hilum:sdk; world callback-only { export hilum:callback/callback@0.1.0; }",
        world: "hilum:sdk/callback-only",
        generate_all,
        pub_export_macro: true,
        export_macro_name: "export_callback_world",
    });
}

#[doc(hidden)]
pub use plugin_bindings::hilum::host as imports;

use imports::{
    clock, command, connection, dns, environment, files, http, log, metrics, processes, random, service, state, tcp,
    tls, udp, unix,
};

pub use callback_bindings::exports::hilum::callback::callback as told;
pub use probe_bindings::exports::hilum::probe::probe as asked;

/// Glue of `export!`: the part that all kinds share, for the generated traits of one world.
#[doc(hidden)]
#[macro_export]
macro_rules! describe_for {
    () => {
        fn describe() -> $crate::wasm::plugin_bindings::exports::hilum::plugin::plugin::Description {
            use $crate::wasm::plugin_bindings::exports::hilum::plugin::plugin::{Description, Grant};
            let description = $crate::wasm::describe::<Plugin>();
            let grant = |grant: $crate::Grant| Grant {
                kind: grant.kind.to_owned(),
                value: grant.value.map(str::to_owned),
                reason: grant.reason.to_owned(),
            };
            Description {
                name: description.name.to_owned(),
                version: description.version.to_owned(),
                settings_schema: description.settings_schema.to_owned(),
                grants: description.grants.into_iter().map(grant).collect(),
            }
        }

        fn check_settings(
            settings: String,
        ) -> Vec<$crate::wasm::plugin_bindings::exports::hilum::plugin::plugin::Problem> {
            use $crate::wasm::plugin_bindings::exports::hilum::plugin::plugin::Problem;
            let mistake = $crate::wasm::mistake::<Plugin>(&settings);
            mistake.into_iter().map(|(path, message)| Problem { path, message }).collect()
        }
    };
}

/// Glue of `export!`.
#[must_use]
pub fn describe<P: Plugin>() -> plugin::Description {
    log_panics();
    P::describe()
}

/// Glue of `export!`: where the settings are wrong, and how.
#[must_use]
pub fn mistake<P: Plugin>(settings: &str) -> Option<(String, String)> {
    log_panics();
    plugin::read::<P>(settings).err().map(|error| (error.pointer().to_owned(), error.story().to_owned()))
}

/// Glue of `export!`.
#[must_use]
pub fn check<P: Probe>(request: asked::Request) -> asked::Outcome {
    log_panics();
    let asked::Request { settings, timeout_ms, attempt } = request;
    match plugin::check::<P>(&plugin::Request { settings, timeout_ms, attempt }, &Guesthost) {
        plugin::Outcome::Pass => asked::Outcome::Pass,
        plugin::Outcome::Fail(why) => asked::Outcome::Fail(why),
        plugin::Outcome::Unknown(why) => asked::Outcome::Unknown(why),
    }
}

/// Glue of `export_callback!`.
#[must_use]
pub fn notify<C: Callback>(context: told::Context, event: told::Event) -> told::Reaction {
    log_panics();
    let told::Context { settings, timeout_ms, attempt } = context;
    let told::Event { name, id, at, service, body } = event;
    let event = plugin::Event { name, id, at, service, body };
    match plugin::notify::<C>(&event, &plugin::Context { settings, timeout_ms, attempt }, &Guesthost) {
        plugin::Reaction::Done(text) => told::Reaction::Done(text),
        plugin::Reaction::Retry { why, after_ms } => told::Reaction::Retry(told::Again { why, after_ms }),
        plugin::Reaction::Failed(why) => told::Reaction::Failed(why),
    }
}

/// A panic ends in a trap that has no words; so they are logged first.
fn log_panics() {
    std::panic::set_hook(Box::new(|info| log::write(log::Level::Error, &info.to_string())));
}

/// The host behind the imports.
struct Guesthost;

impl Host for Guesthost {
    fn log(&self, level: Level, line: &str) {
        let level = match level {
            Level::Debug => log::Level::Debug,
            Level::Info => log::Level::Info,
            Level::Warn => log::Level::Warn,
            Level::Error => log::Level::Error,
        };
        log::write(level, line);
    }

    fn monotonic_now(&self) -> u64 {
        clock::monotonic_now()
    }

    fn wall_now(&self) -> u64 {
        clock::wall_now()
    }

    fn remaining_ms(&self) -> u32 {
        clock::remaining_ms()
    }

    fn sleep(&self, ms: u32) {
        clock::sleep(ms);
    }

    fn random(&self, count: u32) -> Vec<u8> {
        random::bytes(count)
    }

    fn connect(&self, host: &str, port: u16) -> Result<Box<dyn Connection>, NetworkError> {
        Ok(Box::new(tcp::connect(host, port)?))
    }

    fn start_tls(
        &self,
        connection: Box<dyn Connection>,
        options: &TlsOptions,
    ) -> Result<Box<dyn Connection>, NetworkError> {
        let TlsOptions { server_name, trust, identity, protocols } = options;
        let options = tls::Options {
            server_name: server_name.clone(),
            trust: trust.into(),
            identity: identity.as_ref().map(Into::into),
            protocols: protocols.clone(),
        };
        match connection.into_any().downcast::<connection::Connection>() {
            Ok(connection) => Ok(Box::new(tls::wrap(*connection, &options)?)),
            Err(_) => Err(NetworkError::Invalid("the connection is not this host's".to_owned())),
        }
    }

    fn connect_unix(&self, path: &str) -> Result<Box<dyn Connection>, NetworkError> {
        Ok(Box::new(unix::connect(path)?))
    }

    fn connect_udp(&self, host: &str, port: u16) -> Result<Box<dyn Datagrams>, NetworkError> {
        Ok(Box::new(udp::connect(host, port)?))
    }

    fn resolve(&self, name: &str) -> Result<Vec<String>, NetworkError> {
        Ok(dns::resolve(name)?)
    }

    fn dns_servers(&self) -> Result<Vec<String>, NetworkError> {
        Ok(dns::servers()?)
    }

    fn fetch(&self, request: &HttpRequest) -> Result<HttpResponse, NetworkError> {
        let HttpRequest { method, url, headers, body, redirects, trust, server_name, identity, limit } = request;
        let answer = http::fetch(&http::Request {
            method: method.clone(),
            url: url.clone(),
            headers: headers.clone(),
            body: body.clone(),
            redirects: *redirects,
            trust: trust.into(),
            server_name: server_name.clone(),
            identity: identity.as_ref().map(Into::into),
            limit: *limit,
        })?;
        let http::Response { url, method, status, headers, body, cut } = answer;
        Ok(HttpResponse { url, method, status, headers, body, cut })
    }

    fn file_status(&self, path: &str) -> Result<FileStatus, FileError> {
        let files::Metadata { kind, size, modified, mode } = files::status(path)?;
        let kind = match kind {
            files::Kind::File => FileKind::File,
            files::Kind::Directory => FileKind::Directory,
            files::Kind::Special => FileKind::Special,
        };
        Ok(FileStatus { kind, size, modified, mode })
    }

    fn read_file(&self, path: &str, offset: u64, limit: u32) -> Result<Vec<u8>, FileError> {
        let mut bytes = files::read(path, offset, limit)?;
        loop {
            let count = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
            // Less than that is the end of the file.
            if count >= limit || count % MAX_READ != 0 || count == 0 {
                return Ok(bytes);
            }
            let part = files::read(path, offset.saturating_add(count.into()), limit - count)?;
            if part.is_empty() {
                return Ok(bytes);
            }
            bytes.extend(part);
        }
    }

    fn list_directory(&self, path: &str) -> Result<Vec<String>, FileError> {
        Ok(files::list(path)?)
    }

    fn write_file(&self, path: &str, bytes: &[u8], mode: WriteMode) -> Result<(), FileError> {
        let mode = match mode {
            WriteMode::Replace => files::Mode::Replace,
            WriteMode::Append => files::Mode::Append,
            WriteMode::Create => files::Mode::Create,
        };
        Ok(files::write(path, bytes, mode)?)
    }

    fn remove_file(&self, path: &str) -> Result<(), FileError> {
        Ok(files::remove(path)?)
    }

    fn environment(&self, name: &str) -> Result<Option<String>, String> {
        environment::get(name)
    }

    fn run(&self, name: &str) -> Result<CommandOutput, CommandError> {
        match command::run(name) {
            Ok(command::Output { ending, stdout, stderr, cut }) => {
                let ending = match ending {
                    command::Ending::Exited(code) => Ending::Exited(code),
                    command::Ending::Signaled(signal) => Ending::Signaled(signal),
                };
                Ok(CommandOutput { ending, stdout, stderr, cut })
            }
            Err(command::Error::Denied(text)) => Err(CommandError::Denied(text)),
            Err(command::Error::Failed(text)) => Err(CommandError::Failed(text)),
            Err(command::Error::TimedOut) => Err(CommandError::TimedOut),
            Err(command::Error::Limit(text)) => Err(CommandError::Limit(text)),
        }
    }

    fn processes(&self) -> Result<ProcessTable, ProcessError> {
        let table = processes::list().map_err(|error| match error {
            processes::Error::Denied(text) => ProcessError::Denied(text),
            processes::Error::Unsupported(text) => ProcessError::Unsupported(text),
            processes::Error::TimedOut => ProcessError::TimedOut,
        })?;
        let process = |found: processes::Process| {
            let processes::Process { pid, parent, name, command, state, user, age_ms, memory, cpu_ms } = found;
            Process { pid, parent, name, command, state, user, age_ms, memory, cpu_ms }
        };
        Ok(ProcessTable { processes: table.processes.into_iter().map(process).collect(), cut: table.cut })
    }

    fn service(&self) -> Option<Service> {
        let run = service::current().map(|run| Run { number: run.number, pid: run.pid, age_ms: run.age_ms });
        Some(Service { name: service::name()?, run, starts: service::starts() })
    }

    fn count(&self, name: &str, labels: &[(&str, &str)], increment: f64) -> Result<(), String> {
        metrics::count(name, &owned(labels), increment).map_err(metric_error)
    }

    fn gauge(&self, name: &str, labels: &[(&str, &str)], value: f64) -> Result<(), String> {
        metrics::gauge(name, &owned(labels), value).map_err(metric_error)
    }

    fn recall(&self, key: &str) -> Option<Vec<u8>> {
        state::get(key)
    }

    fn keep(&self, key: &str, value: Option<&[u8]>) -> Result<(), String> {
        state::set(key, value).map_err(state_error)
    }

    fn keep_if(&self, key: &str, expected: Option<&[u8]>, value: Option<&[u8]>) -> Result<bool, String> {
        state::compare_and_set(key, expected, value).map_err(state_error)
    }
}

fn owned(labels: &[(&str, &str)]) -> Vec<(String, String)> {
    labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn metric_error(error: metrics::Error) -> String {
    match error {
        metrics::Error::Invalid(text) | metrics::Error::Limit(text) => text,
    }
}

fn state_error(error: state::Error) -> String {
    match error {
        state::Error::Invalid(text) | state::Error::Limit(text) => text,
    }
}

impl Connection for connection::Connection {
    fn write(&mut self, bytes: &[u8]) -> Result<(), NetworkError> {
        Ok(connection::Connection::write(self, bytes)?)
    }

    fn read(&mut self, limit: u32) -> Result<Vec<u8>, NetworkError> {
        Ok(connection::Connection::read(self, limit)?)
    }

    fn shutdown_write(&mut self) -> Result<(), NetworkError> {
        Ok(connection::Connection::shutdown_write(self)?)
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

impl Datagrams for udp::Socket {
    fn send(&mut self, datagram: &[u8]) -> Result<(), NetworkError> {
        Ok(udp::Socket::send(self, datagram)?)
    }

    fn receive(&mut self, limit: u32) -> Result<Vec<u8>, NetworkError> {
        Ok(udp::Socket::receive(self, limit)?)
    }

    fn receive_within(&mut self, limit: u32, ms: u32) -> Result<Option<Vec<u8>>, NetworkError> {
        Ok(udp::Socket::receive_within(self, limit, ms)?)
    }
}

impl From<&Trust> for tls::Trust {
    fn from(trust: &Trust) -> tls::Trust {
        match trust {
            Trust::System => tls::Trust::System,
            Trust::Authorities(pem) => tls::Trust::Authorities(pem.clone()),
            Trust::Anybody => tls::Trust::Anybody,
        }
    }
}

impl From<&Identity> for tls::Identity {
    fn from(identity: &Identity) -> tls::Identity {
        tls::Identity { certificates: identity.certificates.clone(), key: identity.key.clone() }
    }
}

impl From<connection::Error> for NetworkError {
    fn from(error: connection::Error) -> NetworkError {
        match error {
            connection::Error::Denied(text) => NetworkError::Denied(text),
            connection::Error::Forbidden(text) => NetworkError::Forbidden(text),
            connection::Error::Invalid(text) => NetworkError::Invalid(text),
            connection::Error::Unsupported(text) => NetworkError::Unsupported(text),
            connection::Error::NameUnresolved(text) => NetworkError::NameUnresolved(text),
            connection::Error::Refused => NetworkError::Refused,
            connection::Error::Unreachable(text) => NetworkError::Unreachable(text),
            connection::Error::TimedOut => NetworkError::TimedOut,
            connection::Error::Closed => NetworkError::Closed,
            connection::Error::Untrusted(text) => NetworkError::Untrusted(text),
            connection::Error::Limit(text) => NetworkError::Limit(text),
            connection::Error::Other(text) => NetworkError::Other(text),
        }
    }
}

impl From<files::Error> for FileError {
    fn from(error: files::Error) -> FileError {
        match error {
            files::Error::Denied(text) => FileError::Denied(text),
            files::Error::Invalid(text) => FileError::Invalid(text),
            files::Error::NotFound(text) => FileError::NotFound(text),
            files::Error::Exists(text) => FileError::Exists(text),
            files::Error::WrongKind(text) => FileError::WrongKind(text),
            files::Error::Forbidden(text) => FileError::Forbidden(text),
            files::Error::TimedOut => FileError::TimedOut,
            files::Error::Other(text) => FileError::Other(text),
        }
    }
}
