//! Stories the engine must tell the same way for ever: `golden/*.trace`, each a plan, facts, and beneath each fact the orders it causes.
//! Indented lines are expected output; `BLESS=1 cargo test -p hilum-engine --test golden` rewrites them, and the diff is to be read.
//!
//! ```text
//! # Comment; blank lines and these are kept.
//! plan WORD…                 what is not about one service:
//!     stop=TERM,INT forward=USR1,… suspend=TSTP,… suspend-with-child rewrite=HUP:TERM,… (0 drops) delay=D
//!     wait-all linger=D zero=143,… parting=SIGNAL
//! service NAME WORD…         one service, as `once` makes it (essential, never restarted, never killed), but:
//!     optional restart=never|on-failure|always backoff=D factor=THOUSANDTHS cap=D jitter=THOUSANDTHS reset=D
//!     limit=COUNT/D then=give-up|end-container signal=SIGNAL grace=D scope=leader|group sweep ttl=D or ttl=D..D
//! probe SERVICE NAME WORD…   a readiness probe each second, all thresholds 1, unknown never, but:
//!     kind=startup|readiness|liveness period=D timeout=D delay=D fail=N pass=N unknown=N
//! at D started | due | descendants-gone | signal SIGNAL | thawed gap=D
//! at D spawned SERVICE | stopped SERVICE | group-gone SERVICE          `run=N` for another than the last run
//! at D exited SERVICE code=N or signal=SIGNAL [group-left]
//! at D spawn-failed SERVICE not-found|not-executable|resources
//! at D answered SERVICE/PROBE pass|fail|unknown [MESSAGE]               `call=N` for another than the last call
//! at D status                shows the status and the next deadline instead of an order
//! ```
//! `D` is a number with `ns`, `ms`, `s` or `m`; after `at` it counts from the story's beginning. What goldens do not do: look for what
//! nobody thought of. That is the simulator's work.
#![forbid(unsafe_code)]

mod transcript;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use hilum_engine::{
    Action, CallId, Event, Exit, Incarnation, LimitAction, Outcome, Phase, Pid, Plan, ProbeId, ProbeKind, ProbePlan,
    RestartLimit, RestartPolicy, Scope, ServiceId, ServicePlan, Signal, SignalSet, Span, SpawnFailure, Supervisor,
    Tick, TtlPlan, Wall,
};

use crate::transcript::{Names, SIGNALS, span};

/// When stories begin. Not zero, so that a mistaken zero shows.
const START: Tick = Tick(1_000_000_000_000);

type Result<T> = std::result::Result<T, String>;

/// A story as it is told.
struct Teller {
    plan: Plan,
    engine: Option<Supervisor>,
    calls: BTreeMap<(u16, u16), CallId>,
    next_pid: i32,
}

/// The words of a line and what a `key=value` among them says.
struct Words<'a> {
    words: Vec<&'a str>,
}

impl<'a> Words<'a> {
    fn new(line: &'a str) -> Words<'a> {
        Words { words: line.split_whitespace().collect() }
    }

    /// The next word that is no `key=value`.
    fn next(&mut self) -> Result<&'a str> {
        if self.words.is_empty() { Err("the line ends too early".to_owned()) } else { Ok(self.words.remove(0)) }
    }

    fn flag(&mut self, name: &str) -> bool {
        let before = self.words.len();
        self.words.retain(|word| *word != name);
        self.words.len() < before
    }

    fn value(&mut self, key: &str) -> Option<&'a str> {
        let at = self.words.iter().position(|word| word.split_once('=').is_some_and(|(name, _)| name == key))?;
        self.words.remove(at).split_once('=').map(|(_, value)| value)
    }

    fn span(&mut self, key: &str) -> Result<Option<Span>> {
        self.value(key).map(parse_span).transpose()
    }

    fn number<T: std::str::FromStr>(&mut self, key: &str) -> Result<Option<T>> {
        self.value(key).map(parse_number).transpose()
    }

    /// All words must have been understood.
    fn end(self) -> Result<()> {
        if self.words.is_empty() { Ok(()) } else { Err(format!("not understood: {}", self.words.join(" "))) }
    }
}

fn parse_number<T: std::str::FromStr>(text: &str) -> Result<T> {
    text.parse().map_err(|_| format!("\"{text}\" is not a number that fits"))
}

fn parse_span(text: &str) -> Result<Span> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let nanos = match unit {
        "ns" => 1,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        _ => return Err(format!("\"{text}\" is not a time; say 200ms or 1.5s")),
    };
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    let mut total = parse_number::<u64>(whole)? * nanos;
    let mut worth = nanos;
    for digit in part.chars() {
        worth /= 10;
        total += u64::from(digit.to_digit(10).unwrap_or(0)) * worth;
    }
    Ok(Span(total))
}

fn parse_signal(text: &str) -> Result<Signal> {
    match SIGNALS.iter().find(|(name, _)| *name == text) {
        Some((_, number)) => Ok(Signal(*number)),
        None => parse_number(text).map(Signal),
    }
}

fn parse_signals(text: &str) -> Result<Vec<Signal>> {
    text.split(',').map(parse_signal).collect()
}

impl Teller {
    fn service_id(&self, name: &str) -> Result<ServiceId> {
        let at = self.plan.services.iter().position(|service| service.name == name);
        let id = at.and_then(|at| u16::try_from(at).ok()).ok_or_else(|| format!("no service \"{name}\""))?;
        Ok(ServiceId(id))
    }

    fn plan(&mut self, mut words: Words<'_>) -> Result<()> {
        let (signals, ending) = (&mut self.plan.signals, &mut self.plan.ending);
        if let Some(text) = words.value("stop") {
            signals.stop = SignalSet::of(&parse_signals(text)?);
        }
        if let Some(text) = words.value("forward") {
            signals.forward = SignalSet::of(&parse_signals(text)?);
        }
        if let Some(text) = words.value("suspend") {
            signals.suspend = SignalSet::of(&parse_signals(text)?);
        }
        for pair in words.value("rewrite").map(|text| text.split(',')).into_iter().flatten() {
            let (from, to) = pair.split_once(':').ok_or_else(|| format!("\"{pair}\" is not FROM:TO"))?;
            signals.rewrite.push((parse_signal(from)?, parse_signal(to)?));
        }
        signals.suspend_with_child = words.flag("suspend-with-child");
        signals.delay = words.span("delay")?.unwrap_or_default();
        ending.wait_for_descendants = words.flag("wait-all");
        ending.linger = words.span("linger")?.unwrap_or_default();
        ending.parting_signal = words.value("parting").map(parse_signal).transpose()?;
        if let Some(text) = words.value("zero") {
            ending.codes_to_zero = text.split(',').map(parse_number).collect::<Result<_>>()?;
        }
        words.end()
    }

    fn service(&mut self, mut words: Words<'_>) -> Result<()> {
        let mut plan = ServicePlan::once(words.next()?);
        plan.essential = !words.flag("optional");
        plan.restart.policy = match words.value("restart") {
            None | Some("never") => RestartPolicy::Never,
            Some("on-failure") => RestartPolicy::OnFailure,
            Some("always") => RestartPolicy::Always,
            Some(other) => return Err(format!("no restart policy \"{other}\"")),
        };
        let backoff = &mut plan.restart.backoff;
        backoff.initial = words.span("backoff")?.unwrap_or_default();
        backoff.factor = words.number("factor")?.unwrap_or(2000);
        backoff.cap = words.span("cap")?.unwrap_or(Span::from_secs(30));
        backoff.jitter = words.number("jitter")?.unwrap_or(0);
        backoff.reset_after = words.span("reset")?.unwrap_or(Span::from_secs(60));
        let then = match words.value("then") {
            None | Some("give-up") => LimitAction::GiveUp,
            Some("end-container") => LimitAction::EndContainer,
            Some(other) => return Err(format!("no limit action \"{other}\"")),
        };
        if let Some(text) = words.value("limit") {
            let (count, within) = text.split_once('/').ok_or_else(|| format!("\"{text}\" is not COUNT/TIME"))?;
            let (count, within) = (parse_number(count)?, parse_span(within)?);
            plan.restart.limit = Some(RestartLimit { count, within, then });
        }
        plan.stop.signal = words.value("signal").map(parse_signal).transpose()?;
        plan.stop.grace = words.span("grace")?;
        plan.stop.sweep = words.flag("sweep");
        plan.stop.scope = match words.value("scope") {
            None | Some("group") => Scope::Group,
            Some("leader") => Scope::Leader,
            Some(other) => return Err(format!("no scope \"{other}\"")),
        };
        if let Some(text) = words.value("ttl") {
            let (min, max) = text.split_once("..").unwrap_or((text, text));
            plan.ttl = Some(TtlPlan { min: parse_span(min)?, max: parse_span(max)? });
        }
        self.plan.services.push(plan);
        words.end()
    }

    fn probe(&mut self, mut words: Words<'_>) -> Result<()> {
        let service = self.service_id(words.next()?)?;
        let plan = ProbePlan {
            name: words.next()?.to_owned(),
            kind: match words.value("kind") {
                Some("startup") => ProbeKind::Startup,
                None | Some("readiness") => ProbeKind::Readiness,
                Some("liveness") => ProbeKind::Liveness,
                Some(other) => return Err(format!("no kind of probe \"{other}\"")),
            },
            period: words.span("period")?.unwrap_or(Span::from_secs(1)),
            timeout: words.span("timeout")?.unwrap_or(Span::from_secs(1)),
            initial_delay: words.span("delay")?.unwrap_or_default(),
            failure_threshold: words.number("fail")?.unwrap_or(1),
            success_threshold: words.number("pass")?.unwrap_or(1),
            unknown_threshold: words.number("unknown")?,
        };
        if let Some(service) = self.plan.services.get_mut(usize::from(service.0)) {
            service.probes.push(plan);
        }
        words.end()
    }

    /// The event of a line after `at D`; `None` for `status`.
    fn event(&mut self, mut words: Words<'_>, at: Tick) -> Result<Option<Event>> {
        let at = Wall(at.0);
        let kind = words.next()?;
        let event = match kind {
            "started" => Event::Started,
            "due" => Event::Due,
            "descendants-gone" => Event::DescendantsGone,
            "signal" => Event::SignalArrived { signal: parse_signal(words.next()?)? },
            "thawed" => Event::Thawed { gap: words.span("gap")?.ok_or("thawed needs gap=D")? },
            "status" => {
                words.end()?;
                return Ok(None);
            }
            "answered" => {
                let (service, name) = words.next()?.split_once('/').ok_or("name the probe SERVICE/PROBE")?;
                let service = self.service_id(service)?;
                let plan = self.plan.services.get(usize::from(service.0)).ok_or("no such service")?;
                let index = plan.probes.iter().position(|probe| probe.name == name);
                let index =
                    index.and_then(|at| u16::try_from(at).ok()).ok_or_else(|| format!("no probe \"{name}\""))?;
                let last = self.calls.get(&(service.0, index)).copied().unwrap_or_default();
                let call = words.number("call")?.map_or(last, CallId);
                let verdict = words.next()?;
                let message = std::mem::take(&mut words.words).join(" ");
                let outcome = match verdict {
                    "pass" => Outcome::Pass,
                    "fail" => Outcome::Fail(message),
                    "unknown" => Outcome::Unknown(message),
                    other => return Err(format!("no outcome \"{other}\"")),
                };
                let probe = ProbeId { service, index };
                Event::ProbeAnswered { probe, run: self.run(service), call, outcome, took: Span::from_millis(1) }
            }
            _ => {
                let service = self.service_id(words.next()?)?;
                let run = words.number("run")?.map_or(self.run(service), Incarnation);
                match kind {
                    "spawned" => {
                        self.next_pid += 1;
                        Event::Spawned { service, run, pid: Pid(self.next_pid), at }
                    }
                    "stopped" => Event::Stopped { service, run },
                    "group-gone" => Event::GroupGone { service, run },
                    "exited" => {
                        let exit = match (words.number("code")?, words.value("signal")) {
                            (Some(code), None) => Exit::Code(code),
                            (None, Some(signal)) => Exit::Signaled(parse_signal(signal)?),
                            _ => return Err("exited needs code=N or signal=SIGNAL".to_owned()),
                        };
                        Event::Exited { service, run, exit, group_left: words.flag("group-left"), at }
                    }
                    "spawn-failed" => {
                        let code = words.number("code")?.ok_or("spawn-failed needs code=N")?;
                        let reason = SpawnFailure { code, message: "cannot execute it".to_owned() };
                        Event::SpawnFailed { service, run, reason, at }
                    }
                    other => return Err(format!("no event \"{other}\"")),
                }
            }
        };
        words.end()?;
        Ok(Some(event))
    }

    fn run(&self, service: ServiceId) -> Incarnation {
        let status = self.engine.as_ref().map(Supervisor::status);
        status.and_then(|status| status.services.get(usize::from(service.0)).map(|it| it.run)).unwrap_or_default()
    }

    /// Tells the engine one line and returns what it orders, a line each.
    fn tell(&mut self, line: &str) -> Result<Vec<String>> {
        let mut words = Words::new(line);
        match words.next()? {
            "plan" => self.plan(words).map(|()| Vec::new()),
            "service" => self.service(words).map(|()| Vec::new()),
            "probe" => self.probe(words).map(|()| Vec::new()),
            "at" => {
                let at = START.after(parse_span(words.next()?)?);
                if self.engine.is_none() {
                    self.engine = Some(Supervisor::new(self.plan.clone(), 1));
                }
                let event = self.event(words, at)?;
                let engine = self.engine.as_mut().ok_or("no engine")?;
                let Some(event) = event else { return Ok(vec![show(engine)]) };
                let mut out = Vec::new();
                engine.handle(at, event, &mut out);
                for action in &out {
                    if let Action::RunProbe { probe, call, .. } = action {
                        self.calls.insert((probe.service.0, probe.index), *call);
                    }
                }
                let names = Names(&self.plan);
                Ok(out.iter().filter_map(|action| names.action(action)).collect())
            }
            other => Err(format!("no such line: {other}")),
        }
    }
}

/// The status in one line.
fn show(engine: &Supervisor) -> String {
    let status = engine.status();
    let phase = match status.phase {
        Phase::Running => "running",
        Phase::Stopping => "stopping",
        Phase::Lingering => "lingering",
        Phase::Done => "done",
    };
    let mut line = format!("{phase} ready={} started={} alive={}", status.ready, status.started, status.alive);
    for (service, plan) in status.services.iter().zip(&engine.plan().services) {
        let ready = if service.ready { "+ready" } else { "" };
        line.push_str(&format!(" {}={}{ready}", plan.name, service.state.as_str()));
    }
    match engine.next_deadline() {
        Some(at) => line.push_str(&format!(" next={}", span(at.since(START)))),
        None => line.push_str(" next=never"),
    }
    line
}

/// The whole story, with what the engine does now beneath each line.
fn retell(text: &str) -> Result<String> {
    let plan = Plan::default();
    let mut teller = Teller { plan, engine: None, calls: BTreeMap::new(), next_pid: 100 };
    let mut told = String::new();
    for (number, line) in (1..).zip(text.lines()) {
        if line.starts_with("  ") {
            continue;
        }
        told.push_str(line);
        told.push('\n');
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        for order in teller.tell(line).map_err(|why| format!("line {number}: {why}"))? {
            told.push_str(&format!("  {order}\n"));
        }
    }
    Ok(told)
}

#[test]
fn stories_are_told_the_same_way() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let bless = std::env::var_os("BLESS").is_some();
    let mut different = Vec::new();
    let mut stories = 0;
    for entry in fs::read_dir(&folder)? {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "trace") {
            continue;
        }
        stories += 1;
        let text = fs::read_to_string(&path)?;
        let told = retell(&text).map_err(|why| format!("{}: {why}", path.display()))?;
        if told == text {
            continue;
        }
        if bless {
            fs::write(&path, told)?;
            continue;
        }
        let at = text.lines().zip(told.lines()).take_while(|(left, right)| left == right).count();
        let found = told.lines().nth(at).unwrap_or("(the end)");
        let expected = text.lines().nth(at).unwrap_or("(the end)");
        different.push(format!("{}:{}\n  expected: {expected}\n  found:    {found}", path.display(), at + 1));
    }
    assert!(stories >= 20, "only {stories} stories in {}", folder.display());
    assert!(different.is_empty(), "{}\nBLESS=1 rewrites them; read the diff", different.join("\n"));
    Ok(())
}

#[test]
fn a_story_that_changed_is_noticed() -> Result<()> {
    let story = "service web\nat 0s started\n  spawn web run=2\n";
    assert_eq!(retell(story)?, "service web\nat 0s started\n  spawn web run=1\n");
    assert!(retell("service web nonsense=1\n").is_err());
    assert!(retell("service web\nat 0s exited db code=1\n").is_err());
    Ok(())
}
