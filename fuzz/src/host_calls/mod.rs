//! What plugins may ask of the host, with any arguments at all: a guest makes the calls that the input spells, and whatever they are, the call
//! ends in an answer, nothing grows over its limits and nothing happens outside what is granted.
//!
//! What is granted is harmless and almost all of it answered: a folder of this input's own, a peer here that sends back what it gets (after an HTTP
//! request: its content, so that inputs spell answers too), a port and a socket where nobody listens. No name is asked of DNS, no program is run,
//! and no TLS handshake comes to its end: the peer has no certificate.
//!
//! An input of odd length is run twice, by a plugin whose instances are reused.

mod guest;
mod peer;
pub mod script;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::{TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use hilum_sandbox::call;
use hilum_sandbox::compile::{Compiled, plugin};
use hilum_sandbox::engine::Target;
use hilum_sandbox::host::Host;
use hilum_sandbox::load::Order;
use hilum_sandbox::uplink::{Ran, Running, Uplink};
use hilum_wire::{Answer, Ask, Ending, FileGrant, Grants, Series, Subject};

/// Time a call has when fuzzing. **Units:** milliseconds. Enough for all that is answered here; what waits for nobody costs as much.
const TIMEOUT_MS: u64 = 50;

/// Memory a call has. **Units:** bytes. A little more than the guest starts with, so that it can run out.
const MEMORY: u64 = 5 << 19;

/// Memory where instances are reused, which those with more than half of it are not. **Units:** bytes.
const MEMORY_REUSED: u64 = 5 << 20;

/// What a plugin may keep, as `state.wit` promises PID 1. **Units:** bytes.
const MAX_STATE: usize = 32 * 1024;

/// Series a plugin may have, as `metrics.wit` says.
const MAX_SERIES: usize = 64;

/// Log lines of one call, as `log.wit` says, and the one that tells of more.
const MAX_LINES: usize = 64 + 1;

/// Descriptors that may be open after a call and were not after the first: those of calls that a thread has not let go of yet. What is lost at
/// each call reaches it soon.
const MAX_LEFT: usize = 64;

/// Texts that an input can name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// The empty text.
    Nothing,
    /// The granted folder.
    Folder,
    /// A file in it.
    File,
    /// A link in it that leads out.
    Link,
    /// The folder beside it, which is not granted.
    Beside,
    /// An address where our peer listens and others do not.
    Address,
    /// A name that may be looked up.
    Name,
    /// A socket that is granted and not there.
    Socket,
    /// A variable.
    Variable,
    /// A command.
    Command,
    /// The peer by HTTP.
    Http,
    /// The peer by HTTPS, which it does not speak.
    Https,
}

impl Place {
    const ALL: [Place; 12] = [
        Place::Nothing,
        Place::Folder,
        Place::File,
        Place::Link,
        Place::Beside,
        Place::Address,
        Place::Name,
        Place::Socket,
        Place::Variable,
        Place::Command,
        Place::Http,
        Place::Https,
    ];
}

/// Where the port of our peer is among the numbers that an input can name, and that of its datagrams.
pub const PEER_PORTS: [u8; 2] = [0, 1];

/// What is made once and serves every input.
struct Bench {
    host: Arc<Host>,
    guest: Compiled,
    base: PathBuf,
    listener: TcpListener,
    socket: UdpSocket,
    connect: Vec<String>,
}

impl Bench {
    fn new() -> io::Result<Bench> {
        // No two processes share a folder.
        let base = std::env::temp_dir().join(format!("hilum-fuzz-{}", std::process::id()));
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        socket.set_nonblocking(true)?;
        let [tcp, udp] = [listener.local_addr()?.port(), socket.local_addr()?.port()];
        let path = |rest: &str| base.join(rest).to_string_lossy().into_owned();
        let texts = Place::ALL.map(|place| match place {
            Place::Nothing => String::new(),
            Place::Folder => path("granted"),
            Place::File => path("granted/file"),
            Place::Link => path("granted/out"),
            Place::Beside => path("beside"),
            Place::Address => "127.0.0.1".to_owned(),
            Place::Name => "localhost".to_owned(),
            Place::Socket => path("no.sock"),
            Place::Variable => "SET".to_owned(),
            Place::Command => "x".to_owned(),
            Place::Http => format!("http://127.0.0.1:{tcp}/"),
            Place::Https => format!("https://127.0.0.1:{tcp}/"),
        });
        let numbers = [
            tcp.into(),
            udp.into(),
            1,
            u32::MAX,
            i32::MAX.unsigned_abs(),
            1 << 31,
            0xffff,
            0x1_0000,
            // Where results are put, where memory ends, and a little before.
            0x3000,
            32 << 16,
            (32 << 16) - 1,
            (32 << 16) - 4,
            // Limits of the host's: a value, a datagram, what passes at once.
            16 << 10,
            65_507,
            1_000_000,
            1 << 20,
        ];
        let connect = vec![
            format!("127.0.0.1:{tcp}"),
            format!("udp:127.0.0.1:{udp}"),
            "127.0.0.1:1".to_owned(),
            "udp:127.0.0.1:1".to_owned(),
            format!("unix:{}", path("no.sock")),
        ];
        let component = guest::World::read().component(&texts, &numbers);
        let guest = Compiled::new(&component, Target::native()).expect("the guest does not compile");
        Ok(Bench { host: Arc::new(Host::new().expect("no host")), guest, base, listener, socket, connect })
    }

    /// The one of this process.
    fn get() -> &'static Bench {
        static BENCH: OnceLock<Bench> = OnceLock::new();
        BENCH.get_or_init(|| Bench::new().expect("cannot set up"))
    }

    /// Makes the folders as each input finds them.
    fn set_up(&self) -> io::Result<()> {
        self.clean_up();
        let granted = self.base.join("granted");
        fs::create_dir_all(granted.join("sub"))?;
        fs::write(granted.join("file"), "content")?;
        std::os::unix::fs::symlink("../beside", granted.join("out"))?;
        fs::create_dir(self.base.join("beside"))?;
        fs::write(self.base.join("beside/secret"), "secret")
    }

    /// Removes them. A thread that a call did not wait for may still be adding a file.
    fn clean_up(&self) {
        while let Err(error) = fs::remove_dir_all(&self.base) {
            match error.kind() {
                io::ErrorKind::NotFound => return,
                io::ErrorKind::DirectoryNotEmpty => std::thread::yield_now(),
                _ => panic!("cannot remove {}: {error}", self.base.display()),
            }
        }
    }

    /// A plugin that has kept nothing yet.
    fn order(&self, reuse_instances: bool) -> io::Result<Order> {
        let path = self.base.join("granted");
        let (anchor, rest) = hilum_sys::tree::root(&path)?;
        let text = |path: PathBuf| path.to_string_lossy().into_owned();
        Ok(Order {
            name: "calls".to_owned(),
            memory: if reuse_instances { MEMORY_REUSED } else { MEMORY },
            reuse_instances,
            grants: Grants {
                connect: self.connect.clone(),
                resolve: vec!["localhost".to_owned()],
                files: vec![FileGrant { path: text(path), rest: text(rest), write: true }],
                env: vec![("SET".to_owned(), Some("value".to_owned())), ("UNSET".to_owned(), None)],
                exec: vec!["x".to_owned()],
                processes: true,
            },
            files: vec![anchor],
            ..Order::default()
        })
    }
}

/// What reached PID 1.
#[derive(Clone, Default, Debug)]
pub struct Heard {
    /// What the plugin keeps.
    pub state: BTreeMap<String, Vec<u8>>,
    /// Its series, by name and labels.
    pub series: BTreeMap<(String, Vec<(String, String)>), f64>,
    /// Its log.
    pub lines: Vec<String>,
    /// The commands it had run.
    pub commands: Vec<String>,
}

/// PID 1, as far as a plugin sees it: it answers at once, and remembers.
#[derive(Default)]
struct Up(Mutex<Heard>);

impl Up {
    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Uplink for Up {
    fn log(&self, _: &'static str, line: String) {
        self.heard().lines.push(line);
    }

    fn keep(&self, key: &str, value: Option<&[u8]>) {
        let mut heard = self.heard();
        match value {
            Some(value) => heard.state.insert(key.to_owned(), value.to_vec()),
            None => heard.state.remove(key),
        };
        let kept: usize = heard.state.iter().map(|(key, value)| key.len() + value.len()).sum();
        assert!(kept <= MAX_STATE, "{kept} bytes are kept");
    }

    fn show(&self, series: Series) {
        assert!(series.value.is_finite(), "{series:?}");
        let mut heard = self.heard();
        heard.series.insert((series.name, series.labels), series.value);
        assert!(heard.series.len() <= MAX_SERIES, "{} series", heard.series.len());
    }

    fn run(&self, command: &str) -> Running {
        self.heard().commands.push(command.to_owned());
        let ran = Ran { ending: Ending::Exited(3), stdout: b"out".to_vec(), stderr: b"err".to_vec(), cut: false };
        Box::pin(std::future::ready(ran))
    }
}

/// What came of an input.
#[derive(Debug)]
pub struct Outcome {
    /// The answer of the call.
    pub answer: Answer,
    /// Calls the guest made, if it came to its end.
    pub calls: Option<usize>,
    /// How often it asked for what is not granted.
    pub denied: usize,
    /// What reached PID 1.
    pub heard: Heard,
    /// Names in the granted folder.
    pub files: Vec<String>,
    /// Whether the instance had served a call before.
    pub reused: bool,
}

/// Makes the calls that `input` spells.
pub fn host_calls(input: &[u8]) {
    run(input, TIMEOUT_MS);
}

/// Makes the calls, checks what holds for any, and says what came of them: once, or twice. Each time has `timeout_ms`.
pub fn run(input: &[u8], timeout_ms: u64) -> Vec<Outcome> {
    // Tests of one process take turns with its one folder.
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);

    let bench = Bench::get();
    let input = &input[..input.len().min(guest::MAX_INPUT)];
    let again = input.len() % 2 == 1;
    bench.set_up().expect("cannot make the folders");
    let up = Arc::new(Up::default());
    let mut outcomes = Vec::new();
    hilum_sandbox::run(async {
        peer::start(&bench.listener, &bench.socket).expect("no peer");
        let order = bench.order(again).expect("cannot open the granted folder");
        let plugin = plugin(&bench.host, order, &bench.guest, Arc::clone(&up) as Arc<dyn Uplink>);
        let plugin = plugin.expect("the guest does not load");
        for _ in 0..=u8::from(again) {
            let ask = Ask::Check { settings: settings(input), attempt: 1 };
            let ended = call::ask(&plugin, ask, timeout_ms, Some(subject())).await;
            outcomes.push(check(bench, input, ended, up.heard().clone()));
            up.heard().lines.clear();
        }
    })
    .expect("no loop");
    bench.clean_up();
    check_descriptors();
    outcomes
}

/// Checks what holds for any call.
fn check(bench: &Bench, input: &[u8], ended: call::Ended, heard: Heard) -> Outcome {
    let call::Ended { answer, denied, reused, .. } = ended;
    let denied = usize::try_from(denied).unwrap_or(usize::MAX);
    let calls = match &answer {
        Answer::Fail(text) => Some(text.parse().unwrap_or(usize::MAX)),
        Answer::Pass | Answer::Unknown(_) | Answer::Broken { .. } => None,
        other => panic!("a check is answered by {other:?}"),
    };
    // Each call is a byte of the input at least. That the guest spoils its own answer is its business.
    assert!(denied <= calls.unwrap_or(usize::MAX).min(input.len()), "{denied} denied of {calls:?}: {answer:?}");
    assert!(heard.lines.len() <= MAX_LINES, "{} log lines", heard.lines.len());
    for line in &heard.lines {
        assert!(line.len() <= 1024 && !line.contains(char::is_control), "{line:?}");
    }
    assert!(heard.commands.iter().all(|command| command == "x"), "{:?}", heard.commands);
    assert_eq!(names(&bench.base), ["beside", "granted"]);
    let beside = bench.base.join("beside");
    assert_eq!(names(&beside), ["secret"]);
    assert_eq!(fs::read(beside.join("secret")).ok().as_deref(), Some(&b"secret"[..]));
    let files = names(&bench.base.join("granted"));
    Outcome { answer, calls, denied, heard, files, reused }
}

/// Names in a folder, sorted.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut names: Vec<String> =
        entries.filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned())).collect();
    names.sort();
    names
}

/// Checks that no more descriptors are open than after the first input.
fn check_descriptors() {
    static FIRST: AtomicUsize = AtomicUsize::new(0);
    let open = fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    let first = FIRST.compare_exchange(0, open, Ordering::Relaxed, Ordering::Relaxed).err().unwrap_or(open);
    assert!(open <= first + MAX_LEFT, "{open} descriptors are open, {first} were after the first input");
}

/// Settings with the program in them: each byte as the character U+0100 and as many more, for settings are text.
fn settings(input: &[u8]) -> String {
    let [before, after] = guest::SETTINGS;
    let program = input.iter().filter_map(|byte| char::from_u32(0x100 + u32::from(*byte)));
    before.chars().chain(program).chain(after.chars()).collect()
}

fn subject() -> Subject {
    Subject { name: "service".to_owned(), run: 2, pid: Some(1), starts: vec![1000, 2000] }
}
