//! A scripted host with TLS for native tests: it keeps how the plugin wanted to agree, and may refuse. The bytes stay as they are.

use std::cell::RefCell;
use std::rc::Rc;

use crate::fake::FakeHost;
use crate::host::{
    CommandError, CommandOutput, Connection, Datagrams, FileError, FileStatus, Host, HttpRequest, HttpResponse, Level,
    NetworkError, ProcessError, ProcessTable, Service, TlsOptions, WriteMode,
};

/// A [`FakeHost`] that looks at TLS.
#[derive(Debug)]
pub struct TlsHost {
    fake: FakeHost,
    refusal: Option<NetworkError>,
    asked: Rc<RefCell<Vec<TlsOptions>>>,
}

impl TlsHost {
    /// A host that plays `fake`'s script and agrees to everything.
    #[must_use]
    pub fn new(fake: FakeHost) -> TlsHost {
        TlsHost { fake, refusal: None, asked: Rc::default() }
    }

    /// Lets every handshake fail.
    #[must_use]
    pub fn with_refusal(mut self, error: NetworkError) -> TlsHost {
        self.refusal = Some(error);
        self
    }

    /// The host with the script.
    #[must_use]
    pub fn fake(&self) -> &FakeHost {
        &self.fake
    }

    /// How the plugin wanted to agree, each time.
    #[must_use]
    pub fn asked(&self) -> Vec<TlsOptions> {
        self.asked.borrow().clone()
    }

    fn watch(&self, connection: Box<dyn Connection>) -> Box<dyn Connection> {
        Box::new(Watched { connection, refusal: self.refusal.clone(), asked: Rc::clone(&self.asked) })
    }
}

struct Watched {
    connection: Box<dyn Connection>,
    refusal: Option<NetworkError>,
    asked: Rc<RefCell<Vec<TlsOptions>>>,
}

impl Connection for Watched {
    fn write(&mut self, bytes: &[u8]) -> Result<(), NetworkError> {
        self.connection.write(bytes)
    }

    fn read(&mut self, limit: u32) -> Result<Vec<u8>, NetworkError> {
        self.connection.read(limit)
    }

    fn shutdown_write(&mut self) -> Result<(), NetworkError> {
        self.connection.shutdown_write()
    }

    fn start_tls(self: Box<Self>, options: &TlsOptions) -> Result<Box<dyn Connection>, NetworkError> {
        self.asked.borrow_mut().push(options.clone());
        self.refusal.map_or(Ok(()), Err)?;
        self.connection.start_tls(options)
    }
}

impl Host for TlsHost {
    fn log(&self, level: Level, line: &str) {
        self.fake.log(level, line);
    }

    fn monotonic_now(&self) -> u64 {
        self.fake.monotonic_now()
    }

    fn wall_now(&self) -> u64 {
        self.fake.wall_now()
    }

    fn remaining_ms(&self) -> u32 {
        self.fake.remaining_ms()
    }

    fn sleep(&self, ms: u32) {
        self.fake.sleep(ms);
    }

    fn random(&self, count: u32) -> Vec<u8> {
        self.fake.random(count)
    }

    fn connect(&self, host: &str, port: u16) -> Result<Box<dyn Connection>, NetworkError> {
        self.fake.connect(host, port).map(|connection| self.watch(connection))
    }

    fn connect_unix(&self, path: &str) -> Result<Box<dyn Connection>, NetworkError> {
        self.fake.connect_unix(path).map(|connection| self.watch(connection))
    }

    fn connect_udp(&self, host: &str, port: u16) -> Result<Box<dyn Datagrams>, NetworkError> {
        self.fake.connect_udp(host, port)
    }

    fn resolve(&self, name: &str) -> Result<Vec<String>, NetworkError> {
        self.fake.resolve(name)
    }

    fn dns_servers(&self) -> Result<Vec<String>, NetworkError> {
        self.fake.dns_servers()
    }

    fn fetch(&self, request: &HttpRequest) -> Result<HttpResponse, NetworkError> {
        self.fake.fetch(request)
    }

    fn file_status(&self, path: &str) -> Result<FileStatus, FileError> {
        self.fake.file_status(path)
    }

    fn read_file(&self, path: &str, offset: u64, limit: u32) -> Result<Vec<u8>, FileError> {
        self.fake.read_file(path, offset, limit)
    }

    fn list_directory(&self, path: &str) -> Result<Vec<String>, FileError> {
        self.fake.list_directory(path)
    }

    fn write_file(&self, path: &str, bytes: &[u8], mode: WriteMode) -> Result<(), FileError> {
        self.fake.write_file(path, bytes, mode)
    }

    fn remove_file(&self, path: &str) -> Result<(), FileError> {
        self.fake.remove_file(path)
    }

    fn environment(&self, name: &str) -> Result<Option<String>, String> {
        self.fake.environment(name)
    }

    fn run(&self, command: &str) -> Result<CommandOutput, CommandError> {
        self.fake.run(command)
    }

    fn processes(&self) -> Result<ProcessTable, ProcessError> {
        self.fake.processes()
    }

    fn service(&self) -> Option<Service> {
        self.fake.service()
    }

    fn count(&self, name: &str, labels: &[(&str, &str)], increment: f64) -> Result<(), String> {
        self.fake.count(name, labels, increment)
    }

    fn gauge(&self, name: &str, labels: &[(&str, &str)], value: f64) -> Result<(), String> {
        self.fake.gauge(name, labels, value)
    }

    fn recall(&self, key: &str) -> Option<Vec<u8>> {
        self.fake.recall(key)
    }

    fn keep(&self, key: &str, value: Option<&[u8]>) -> Result<(), String> {
        self.fake.keep(key, value)
    }

    fn keep_if(&self, key: &str, expected: Option<&[u8]>, value: Option<&[u8]>) -> Result<bool, String> {
        self.fake.keep_if(key, expected, value)
    }
}
