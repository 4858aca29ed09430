//! How long a plugin that means well waits while one that means harm makes an attempt beside it: a table, not a judgement. Each line is measured
//! quiet and disturbed in turn, so that what else the machine does counts for both.
//!
//! `cargo run --release -p hilum-sandbox --example neighbours -- [--own | --hilum=FILE] [ATTEMPT…]`, after
//! `cargo build --release -p hilum-sandbox --example worker`: in the same worker, without the PID 1 that would set the attacker apart; with `--own` in one
//! of its own; with `--hilum` beside the whole of that program, which decides.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a failed step is a failed measurement")]

#[expect(dead_code, reason = "the role's own tests use the rest")]
#[path = "../../tests/role/guest.rs"]
mod guest;
#[expect(dead_code, reason = "the attacks' tests use the rest")]
#[path = "../../tests/attack/peers.rs"]
mod peers;
#[expect(dead_code, reason = "the attacks' tests use the rest")]
#[path = "../../tests/attack/stage.rs"]
mod stage;
#[expect(dead_code, reason = "the attacks' tests use the rest")]
#[path = "../../tests/attack/toolchain.rs"]
mod toolchain;
mod whole;
#[expect(dead_code, reason = "the role's own tests use the rest")]
#[path = "../../tests/role/worker.rs"]
mod worker;

use std::collections::{HashSet, VecDeque};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hilum_wire::{Answer, FromSandbox, ToSandbox};
use serde_json::{Value, json};

use crate::stage::{ATTACKER, Setting, Stage, VISITOR};
use crate::whole::Whole;

/// The plugin that echoes; the stage loads it.
const VICTIM: u16 = 0;

/// How long one side of a line is measured, in how many turns. Shorter, and there are too few calls for a 99th percentile.
const TURN: Duration = Duration::from_millis(500);
const TURNS: usize = 4;

/// Calls of the attacker that run at once.
const BESIDE: usize = 4;

/// How long the attacker is left alone when it has answered: it is hilum that asks, and far more often here than a plan has it ask.
const PAUSE: Duration = Duration::from_millis(10);

/// Time that a call of the attacker may take. **Units:** milliseconds.
const TIMEOUT_MS: u64 = 300;

/// How long calls took. **Units:** microseconds.
#[derive(Default)]
struct Times(Vec<u64>);

impl Times {
    fn percentile(&mut self, percent: usize) -> u64 {
        self.0.sort_unstable();
        self.0.get(self.0.len() * percent / 100).or(self.0.last()).copied().unwrap_or_default()
    }
}

/// What was measured on one side: seen from PID 1, and by the worker's own clock.
#[derive(Default)]
struct Side {
    echo: Times,
    visit: Times,
    own: Times,
}

/// The calls of the attacker: [`BESIDE`] at once, each asked again [`PAUSE`] after it was answered.
struct Attack {
    settings: String,
    running: HashSet<u64>,
    /// When to ask again.
    due: VecDeque<Instant>,
    next: u64,
}

impl Attack {
    fn begin(settings: &str, stage: &Stage) -> Attack {
        let mut attack =
            Attack { settings: settings.to_owned(), running: HashSet::new(), due: VecDeque::new(), next: 1 << 48 };
        (0..BESIDE).for_each(|_| attack.ask(stage));
        attack
    }

    fn ask(&mut self, stage: &Stage) {
        self.next += 1;
        stage.worker.call(self.next, ATTACKER, &self.settings, TIMEOUT_MS);
        self.running.insert(self.next);
    }

    fn ask_due(&mut self, stage: &Stage) {
        while self.due.front().is_some_and(|due| *due <= Instant::now()) {
            self.due.pop_front();
            self.ask(stage);
        }
    }

    /// Does what PID 1 does about a message.
    fn take(&mut self, message: FromSandbox, stage: &mut Stage) {
        match message {
            FromSandbox::Answered { id, .. } if self.running.remove(&id) => {
                self.due.push_back(Instant::now() + PAUSE);
            }
            FromSandbox::Run { id, command, .. } => stage.runs.start(id, &command, &stage.worker),
            FromSandbox::StopRun { id } => stage.runs.stop(id),
            _ => {}
        }
    }

    fn end(self, stage: &Stage) {
        for id in self.running {
            stage.worker.send(&ToSandbox::Cancel { id });
        }
    }

    /// Goes on in a worker of its own until it is `over`.
    fn go_on(mut self, stage: &mut Stage, over: &AtomicBool) {
        while !over.load(Ordering::Relaxed) {
            self.ask_due(stage);
            if let Some(message) = stage.worker.next_within(PAUSE) {
                self.take(message, stage);
            }
        }
        self.end(stage);
    }
}

/// One line's worth of calls: the victims' in turn, and the attacker's beside them where it shares their worker.
struct Scene<'a> {
    stage: &'a mut Stage,
    visit: String,
    attack: Option<Attack>,
    next: u64,
}

impl Scene<'_> {
    /// How long a call took, seen from here and by the worker. A call that is answered otherwise than it should be measures nothing.
    fn measure(&mut self, plugin: u16, settings: &str, expected: &Answer) -> (u64, u64) {
        if let Some(attack) = &mut self.attack {
            attack.ask_due(self.stage);
        }
        let began = Instant::now();
        self.next += 1;
        self.stage.worker.call(self.next, plugin, settings, 10_000);
        let (answer, own) = self.hear(self.next);
        assert_eq!(answer, *expected, "plugin {plugin}");
        (u64::try_from(began.elapsed().as_micros()).unwrap(), own)
    }

    /// Goes on until the call is answered: what, and how long it took by the worker's clock.
    fn hear(&mut self, id: u64) -> (Answer, u64) {
        loop {
            match self.stage.worker.next().unwrap_or_else(|| panic!("the worker has gone")) {
                FromSandbox::Answered { id: answered, answer, took_us, .. } if answered == id => {
                    return (answer, took_us);
                }
                message => {
                    if let Some(attack) = &mut self.attack {
                        attack.take(message, self.stage);
                    }
                }
            }
        }
    }

    fn turn(&mut self, side: &mut Side) {
        let until = Instant::now() + TURN;
        let (visit, echo) = (self.visit.clone(), Answer::Fail("x".to_owned()));
        while Instant::now() < until {
            let (took, own) = self.measure(VICTIM, "x", &echo);
            side.echo.0.push(took);
            side.own.0.push(own);
            side.visit.0.push(self.measure(VISITOR, &visit, &Answer::Pass).0);
        }
    }

    /// A turn beside an attack, which is made in the worker `apart` if there is one.
    fn turn_beside(&mut self, side: &mut Side, settings: &str, apart: Option<&mut Stage>) {
        let over = AtomicBool::new(false);
        match apart {
            Some(apart) => std::thread::scope(|scope| {
                let attack = Attack::begin(settings, apart);
                scope.spawn(|| attack.go_on(apart, &over));
                self.turn(side);
                over.store(true, Ordering::Relaxed);
            }),
            None => {
                self.attack = Some(Attack::begin(settings, self.stage));
                self.turn(side);
                if let Some(attack) = self.attack.take() {
                    attack.end(self.stage);
                }
            }
        }
        // What is left of it comes to its end.
        for _ in 0..50 {
            self.measure(VICTIM, "x", &Answer::Fail("x".to_owned()));
        }
    }
}

/// An attempt, what it is called with, and the peer it draws from, if it does.
struct Line {
    name: &'static str,
    attempt: &'static str,
    with: Value,
    source: Option<Source>,
}

/// How many times as long the slowest of a hundred took.
fn ratio(one: &mut Times, other: &mut Times) -> f64 {
    let [one, other] = [one, other].map(|times| u32::try_from(times.percentile(99).max(1)).unwrap_or(u32::MAX));
    f64::from(other) / f64::from(one)
}

/// A peer that pours, and what has it do so. Somebody who has nothing to do with hilum draws from it as an attack does: what that costs the echo
/// is the machine's share.
struct Source {
    place: String,
    request: String,
}

impl Source {
    /// Draws as often and as much at once as an attack does, meanwhile.
    fn drawn_from<T>(&self, meanwhile: impl FnOnce() -> T) -> T {
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..BESIDE {
                scope.spawn(|| {
                    while !over.load(Ordering::Relaxed) {
                        self.draw();
                        std::thread::sleep(PAUSE);
                    }
                });
            }
            let result = meanwhile();
            over.store(true, Ordering::Relaxed);
            result
        })
    }

    fn draw(&self) {
        let until = Instant::now() + Duration::from_millis(TIMEOUT_MS);
        let mut stream = TcpStream::connect(&self.place).unwrap();
        stream.write_all(self.request.as_bytes()).unwrap();
        let mut buffer = vec![0; 65_536];
        while Instant::now() < until && stream.read(&mut buffer).is_ok_and(|count| count > 0) {}
    }
}

/// The table of `--hilum`.
fn beside_hilum(whole: &Whole, attacks: impl Iterator<Item = Line>) {
    println!(
        "{:26} {:>7} {:>7} {:>7} {:>7} {:>6} {:>10} {:>6}",
        "beside (us)", "echo", "p99", "beside", "p99", "ratio", "by others", "ratio"
    );
    for Line { name, attempt, with, source } in attacks {
        let attack = json!({"attempt": attempt, "with": with});
        let [mut quiet, mut beside, mut others] = [const { Times(Vec::new()) }; 3];
        let mut apart = false;
        for _ in 0..TURNS / 2 {
            quiet.0.extend(whole.run(None).took);
            let run = whole.run(Some(&attack));
            beside.0.extend(run.took);
            apart |= run.apart;
            if let Some(source) = &source {
                others.0.extend(source.drawn_from(|| whole.run(None)).took);
            }
        }
        let by_others = if source.is_some() {
            format!("{:>10} {:>6.1}", others.percentile(99), ratio(&mut quiet, &mut others))
        } else {
            " ".repeat(17)
        };
        println!(
            "{name:26} {:>7} {:>7} {:>7} {:>7} {:>6.1} {by_others}   {}",
            quiet.percentile(50),
            quiet.percentile(99),
            beside.percentile(50),
            beside.percentile(99),
            ratio(&mut quiet, &mut beside),
            if apart { "set apart" } else { "" }
        );
    }
}

fn main() {
    let greeting = peers::serve(|mut stream| {
        let _gone = stream.write_all(b"hello\n");
    });
    // What the attacker's peers have to do is not hilum's work, and would be done elsewhere.
    let peers = std::thread::spawn(|| {
        hilum_sys::process::step_back(10).unwrap();
        let silent = peers::serve(|stream| {
            let _gone = (&mut &stream).read(&mut [0; 1]);
        });
        let pouring = peers::serve(|mut stream| while stream.write_all(&[0; 65_536]).is_ok() {});
        let web = peers::Web::start(|path, stream| {
            let endless = |stream: &mut TcpStream, head: &str, part: &str| {
                let mut going = stream.write_all(head.as_bytes());
                while going.is_ok() {
                    going = stream.write_all(part.as_bytes());
                }
            };
            match path {
                "/hints" => endless(stream, "", &"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n".repeat(1000)),
                "/fields" => endless(stream, "HTTP/1.1 200 OK\r\n", &"x: y\r\n".repeat(1000)),
                _ => endless(stream, "HTTP/1.1 200 OK\r\n\r\n", &"x".repeat(65_536)),
            }
        });
        (silent, pouring, web)
    });
    let (silent, pouring, web) = peers.join().unwrap();
    let file = std::env::temp_dir().join(format!("hilum-neighbours-{}", std::process::id()));
    std::fs::create_dir_all(&file).unwrap();
    std::fs::write(file.join("file"), vec![b'x'; 1_000_000]).unwrap();
    let path = |name: &str| file.join(name).to_str().unwrap().to_owned();
    let local =
        |port: u16| json!({"host": "127.0.0.1", "port": port, "times": 10_000, "kind": "tcp", "size": 1_000_000});
    let page = |path: &str| json!({"url": format!("http://{}/{path}", web.place()), "wanted": "secret"});
    let giant = |function: &str| json!({"function": function, "size": 1_000_000});
    let pem = include_str!("../../tests/attack/tls/authority.pem");
    let attacks = [
        ("nothing", "nothing", json!({})),
        ("spin", "spin", json!({})),
        ("spin between host calls", "spin-between", json!({"rounds": 1000})),
        ("run 0.3 ms between sleeps", "sip", json!({"slice-us": 300})),
        ("sleep(0)", "sleep-nothing", json!({})),
        ("sleep for ever", "sleep-forever", json!({})),
        ("clock", "clock-flood", json!({"times": 1_000_000})),
        ("random", "random-flood", json!({})),
        ("pointers", "pointers", json!({"size": 100_000})),
        ("recursion", "recurse", json!({"depth": u32::MAX})),
        ("memory in one step", "grow", json!({"step": 1_500_000_000})),
        ("memory in small steps", "grow", json!({"step": 4096})),
        ("log lines", "log-flood", json!({"text": "line", "repeat": 1, "times": 1_000_000})),
        ("log lines of 1 MB", "log-flood", json!({"text": "0123456789", "repeat": 100_000, "times": 1000})),
        ("giant key", "giant", giant("key")),
        ("giant host", "giant", giant("connect")),
        ("100,000 labels", "many-labels", json!({"count": 100_000})),
        ("reason of 1 MB", "long-reason", json!({"repeat": 140_000})),
        ("state, full", "state-flood", json!({"times": 1000})),
        ("state, churning", "state-churn", json!({"times": 20_000})),
        ("series", "series-flood", json!({"times": 100_000})),
        ("files", "files-at-once", json!({"path": path("file")})),
        ("denied files", "read-swapped", json!({"path": "/etc/passwd", "secret": "root"})),
        ("commands", "run", json!({"command": "brief", "times": 1000})),
        ("a command's flood", "run", json!({"command": "flood", "times": 1})),
        ("hoarded connections", "hoard", local(silent)),
        ("connections", "churn", local(silent)),
        ("a peer that pours", "drink", local(pouring)),
        ("pouring to a peer", "pour", local(silent)),
        ("insisting", "insist", local(silent)),
        ("endless content", "fetch", page("endless")),
        ("endless hints", "fetch", page("hints")),
        ("endless fields", "fetch", page("fields")),
        (
            "authorities",
            "pem-flood",
            json!({"host": "127.0.0.1", "port": silent, "authority": pem, "size": 900_000, "times": 100}),
        ),
    ];
    let (options, wanted): (Vec<String>, Vec<String>) =
        std::env::args().skip(1).partition(|word| word.starts_with("--"));
    let draw = |place: String, request: String| Some(Source { place, request });
    let source = |name: &str| match name {
        "a peer that pours" => draw(format!("127.0.0.1:{pouring}"), String::new()),
        "endless content" | "endless hints" | "endless fields" => {
            draw(web.place(), format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", name.trim_start_matches("endless ")))
        }
        _ => None,
    };
    let attacks = attacks
        .into_iter()
        .filter(|(name, attempt, _)| wanted.is_empty() || wanted.iter().any(|it| it == attempt || it == name))
        .map(|(name, attempt, with)| Line { name, attempt, with, source: source(name) });
    if let Some(hilum) = options.iter().find_map(|option| option.strip_prefix("--hilum=")) {
        beside_hilum(&Whole::new(Path::new(hilum), &file, &path("")), attacks);
        std::fs::remove_dir_all(&file).unwrap();
        return;
    }
    let start = || {
        let mut setting = Setting::default();
        setting.visitor = true;
        setting.connect(&["127.0.0.1:*"]).exec(&["brief", "flood"]).files(Path::new(&path("")), false).start()
    };
    let mut stage = start();
    let mut apart = (!options.is_empty()).then(start);
    let visit = json!({"attempt": "visit", "with": local(greeting)}).to_string();
    let mut scene = Scene { stage: &mut stage, visit, attack: None, next: 1 << 32 };
    println!(
        "{:26} {:>7} {:>7} {:>7} {:>7} {:>6}   {:>7} {:>7} {:>6}   {:>6}",
        "beside (us)", "echo", "p99", "beside", "p99", "ratio", "visit99", "beside", "ratio", "own"
    );
    for Line { name, attempt, with, .. } in attacks {
        let settings = json!({"attempt": attempt, "with": with}).to_string();
        let (mut quiet, mut beside) = (Side::default(), Side::default());
        for _ in 0..TURNS {
            scene.turn(&mut quiet);
            scene.turn_beside(&mut beside, &settings, apart.as_mut());
        }
        println!(
            "{name:26} {:>7} {:>7} {:>7} {:>7} {:>6.1}   {:>7} {:>7} {:>6.1}   {:>6.1}",
            quiet.echo.percentile(50),
            quiet.echo.percentile(99),
            beside.echo.percentile(50),
            beside.echo.percentile(99),
            ratio(&mut quiet.echo, &mut beside.echo),
            quiet.visit.percentile(99),
            beside.visit.percentile(99),
            ratio(&mut quiet.visit, &mut beside.visit),
            ratio(&mut quiet.own, &mut beside.own),
        );
    }
    std::fs::remove_dir_all(&file).unwrap();
}
