//! From the file as typed to a launch: defaults filled in, names turned into indices, values checked against each
//! other. Every value that is looked up is noted down with where it came from; `print` shows the notes.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use hilum_engine::{
    BackoffPlan, LimitAction, Plan, ProbeKind, ProbePlan, RestartLimit, RestartPlan, RestartPolicy, Scope as Reach,
    ServicePlan, Signal, SignalPlan, SignalSet, Span, StopPlan, TtlPlan,
};

use crate::address::Address;
use crate::diagnose::{Diagnostic, Fault, Mistake, join, locate, nearest, quote};
use crate::expand::Environment;
use crate::print::{self, Setting};
use crate::raw::{self, Absent, Key, Schema, Shape};
use crate::value::{self, Datum, Field, Fields};
use crate::{
    Allow, CommandLaunch, Group, Isolation, Launch, Listen, Output, Place, PluginLaunch, ProbeLaunch, ProcessLaunch,
    ServiceLaunch, StatusLaunch, StatusMode, format_duration,
};

/// Largest plan. **Units:** bytes. Room for 65,535 services with a short command each, or thousands with every key set;
/// doubled, so is the time a hostile one can take.
pub const MAX_PLAN: usize = 4 << 20;

/// Where plugins are looked for that have no `path`: the image's plugin folder, wherever the plan file is.
const PLUGIN_FOLDER: &str = "/plugins";

/// A plan that is right.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Resolved {
    /// What to start.
    pub launch: Launch,
    settings: Vec<Setting>,
}

impl Resolved {
    /// Every effective value and where it came from, as a plan with comments. Loaded from the same place, it gives the
    /// same launch.
    #[must_use]
    pub fn print(&self) -> String {
        print::render(&self.settings)
    }
}

/// Where a plugin is looked for whose plan gives no path.
#[must_use]
pub fn default_plugin_path(name: &str) -> String {
    format!("{PLUGIN_FOLDER}/{name}.cwasm")
}

/// Reads a plan. `origin` names the file in messages, and relative plugin paths begin at its directory; `environment`
/// looks up what `${NAME}` stands for.
///
/// **Errors:** everything that is wrong, in order of place; never an empty list. Where the text is not TOML, only that
/// is told.
pub fn load(
    text: &str,
    origin: &Path,
    environment: &dyn Fn(&str) -> Option<OsString>,
) -> Result<Resolved, Vec<Diagnostic>> {
    let (fields, faults) = read(text, environment);
    let mut resolver = Resolver { newlines: newlines(text), faults, settings: Vec::new() };
    let launch = fields.map(|fields| resolver.plan(&fields, origin.parent().unwrap_or(Path::new(""))));
    match launch {
        Some(launch) if resolver.faults.is_empty() => Ok(Resolved { launch, settings: resolver.settings }),
        _ => Err(locate(text, origin, resolver.faults)),
    }
}

/// The file as typed; `None` where it makes no sense to go on.
fn read(text: &str, environment: &Environment<'_>) -> (Option<Fields>, Vec<Fault>) {
    if text.len() > MAX_PLAN {
        let mistake = Mistake::new(format!("the plan is {} bytes long", text.len()), format!("keep it to {MAX_PLAN}"));
        return (None, vec![Fault { at: 0, key: String::new(), mistake }]);
    }
    value::read(text, environment)
}

fn newlines(text: &str) -> Vec<usize> {
    text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at).collect()
}

/// Where a value was found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Layer {
    /// In the table itself.
    Own,
    /// In `[defaults]`.
    Defaults,
}

/// A table as it is looked up: what it says itself, then what `[defaults]` say.
#[derive(Clone, Debug)]
struct View<'a> {
    schema: &'static Schema,
    layers: Vec<(&'a Fields, Layer)>,
    /// Where to point for what is missing.
    at: usize,
    /// The header it is printed under.
    table: Vec<String>,
    /// The tables below that header, with their points: `backoff.`.
    prefix: String,
}

impl<'a> View<'a> {
    fn new(schema: &'static Schema, own: Option<&'a Fields>, table: &[&str]) -> View<'a> {
        View {
            schema,
            layers: own.map(|fields| (fields, Layer::Own)).into_iter().collect(),
            at: own.map_or(0, |fields| fields.at),
            table: table.iter().map(|name| String::from(*name)).collect(),
            prefix: String::new(),
        }
    }

    fn find(&self, name: &str) -> Option<(&'a Field, Layer)> {
        self.layers.iter().find_map(|(fields, layer)| Some((fields.get(name)?, *layer)))
    }

    fn key(&self, name: &str) -> Option<&'static Key> {
        self.schema.key(name)
    }

    /// The table at `name`, key by key from all layers.
    fn merged(&self, name: &str) -> View<'a> {
        let layers = self.layers.iter().filter_map(|(fields, layer)| Some((fields.table(name)?, *layer))).collect();
        self.below(name, layers)
    }

    /// The table at `name`, as a whole from the first layer that has it.
    fn whole(&self, name: &str) -> View<'a> {
        let layers = self.find(name).and_then(|(field, layer)| Some((field.table()?, layer))).into_iter().collect();
        self.below(name, layers)
    }

    fn below(&self, name: &str, layers: Vec<(&'a Fields, Layer)>) -> View<'a> {
        let schema = match self.key(name).map(|key| &key.shape) {
            Some(Shape::Table(schema) | Shape::Either(schema, _)) => schema,
            _ => self.schema,
        };
        let at = layers.first().map_or(self.at, |(fields, _)| fields.at);
        View { schema, layers, at, table: self.table.clone(), prefix: format!("{}{name}.", self.prefix) }
    }

    /// The full key path, for messages.
    fn path(&self, name: &str) -> String {
        format!("{}.{}{name}", join(&self.table), self.prefix)
    }
}

/// A value and its place.
struct Found {
    datum: Datum,
    at: usize,
}

struct Resolver {
    newlines: Vec<usize>,
    faults: Vec<Fault>,
    settings: Vec<Setting>,
}

impl Resolver {
    fn fault(&mut self, at: usize, key: String, mistake: Mistake) {
        self.faults.push(Fault { at, key, mistake });
    }

    fn line(&self, at: usize) -> usize {
        self.newlines.partition_point(|newline| *newline < at) + 1
    }

    fn place(&self, at: usize) -> Place {
        let line = self.line(at);
        let begin = line.checked_sub(2).and_then(|before| self.newlines.get(before)).map_or(0, |newline| newline + 1);
        Place { line, column: at.saturating_sub(begin) + 1 }
    }

    fn note(&mut self, view: &View<'_>, name: &str, datum: Option<&Datum>, source: String) {
        let key = format!("{}{name}", view.prefix);
        self.settings.push(Setting { table: view.table.clone(), key, value: datum.map(print::value), source });
    }

    fn source(&self, at: usize, layer: Layer) -> String {
        match layer {
            Layer::Own => format!("line {}", self.line(at)),
            Layer::Defaults => format!("[defaults], line {}", self.line(at)),
        }
    }

    /// The effective value of a key: given, default, or none.
    fn pick(&mut self, view: &View<'_>, name: &str) -> Found {
        if let Some((field, layer)) = view.find(name) {
            return self.given(view, name, field, layer);
        }
        let found = Found { datum: Datum::Bad, at: view.at };
        let Some(key) = view.key(name) else {
            return found;
        };
        match key.absent {
            Absent::Required => {
                let mistake = Mistake::new("missing", format!("set it to {}", key.shape.describe()));
                self.fault(view.at, view.path(name), mistake);
                found
            }
            Absent::Default(_) => {
                let datum = value::built_in(key).unwrap_or(Datum::Bad);
                self.note(view, name, Some(&datum), String::from("default"));
                Found { datum, ..found }
            }
            Absent::Otherwise(meaning) => {
                self.note(view, name, None, format!("{name} is not set: {meaning}"));
                found
            }
        }
    }

    /// The same for a key whose default depends on others.
    fn pick_or(&mut self, view: &View<'_>, name: &str, default: Datum, source: &str) -> Found {
        if let Some((field, layer)) = view.find(name) {
            return self.given(view, name, field, layer);
        }
        self.note(view, name, Some(&default), String::from(source));
        Found { datum: default, at: view.at }
    }

    fn given(&mut self, view: &View<'_>, name: &str, field: &Field, layer: Layer) -> Found {
        // A table is noted key by key as it is looked into.
        if field.table().is_none() {
            let source = self.source(field.at, layer);
            self.note(view, name, Some(&field.datum), source);
        }
        Found { datum: field.datum.clone(), at: field.at }
    }

    fn plan(&mut self, fields: &Fields, directory: &Path) -> Launch {
        let status = self.status(fields.table("status"));
        let (grace, delay) = self.shutdown(fields.table("shutdown"));
        let declared = fields.table("service");
        let services = self.tables(declared, "service", "services");
        let skipped = |field: &Field| match view_of_service(field, fields).find("skip") {
            Some((field, _)) => field.datum == Datum::Flag(true),
            None => false,
        };
        let running = services.iter().filter(|field| !skipped(field)).count();
        let plugins = fields.table("plugin").map_or(&[][..], |plugins| &plugins.entries);
        let plugins = plugins.iter().map(|field| field.name.as_str()).collect();
        let commands = fields.table("command").map_or(&[][..], |commands| &commands.entries);
        let commands = commands.iter().map(|field| field.name.as_str()).collect();
        let context = Context { fields, plugins, commands, grace, only: running == 1 };
        if running == 0 && self.faults.iter().all(|fault| !fault.key.starts_with("service")) {
            let at = declared.map_or(0, |services| services.at);
            let (problem, remedy) = if declared.is_none_or(|services| services.entries.is_empty()) {
                ("no service", "add [service.NAME] with a command")
            } else {
                ("every service is skipped", "set skip = false for one of them")
            };
            self.fault(at, String::from("service"), Mistake::new(problem, remedy));
        }

        let mut launch = Launch {
            plan: Plan {
                services: Vec::new(),
                signals: SignalPlan {
                    stop: SignalSet::of(&[Signal::TERM, Signal::INT, Signal::QUIT]),
                    forward: SignalSet::EMPTY,
                    delay,
                    ..SignalPlan::default()
                },
                ..Plan::default()
            },
            services: Vec::new(),
            plugins: Vec::new(),
            commands: Vec::new(),
            status,
            process: ProcessLaunch { last_resort_grace: grace, reloads: true, ..ProcessLaunch::default() },
        };
        // Which plugin each probe calls, until the plugins have their indices.
        let mut called: Vec<Vec<String>> = Vec::new();
        for field in services {
            let skip = skipped(field);
            let (service, shell, plugins) = self.service(&context, field, context.only && !skip);
            if !skip {
                launch.plan.services.push(service);
                launch.services.push(shell);
                called.push(plugins);
            }
        }
        let wanted: BTreeSet<&str> = called.iter().flatten().map(String::as_str).collect();
        let mut indices = BTreeMap::new();
        for field in self.tables(fields.table("plugin"), "plugin", "plugins") {
            let plugin = self.plugin(&context, field, directory);
            if wanted.contains(plugin.name.as_str()) {
                indices.insert(plugin.name.clone(), u16::try_from(launch.plugins.len()).unwrap_or(u16::MAX));
                launch.plugins.push(plugin);
            }
        }
        for field in self.tables(fields.table("command"), "command", "commands") {
            let command = self.command(&context, field);
            launch.commands.push(command);
        }
        for (service, names) in launch.services.iter_mut().zip(&called) {
            for (probe, name) in service.probes.iter_mut().zip(names) {
                // A name without an index has been told as a mistake.
                probe.plugin = indices.get(name).copied().unwrap_or(u16::MAX);
            }
        }
        launch
    }

    /// The tables in a table of tables; none if there are more than indices, and that is told.
    fn tables<'f>(&mut self, fields: Option<&'f Fields>, key: &str, what: &str) -> Vec<&'f Field> {
        let entries = fields.map_or(&[][..], |fields| &fields.entries);
        if let Some(first_beyond) = entries.get(usize::from(u16::MAX)) {
            let mistake = Mistake::new(
                format!("{} {what} are more than {}", entries.len(), u16::MAX),
                "split the plan over several containers",
            );
            self.fault(first_beyond.at, String::from(key), mistake);
            return Vec::new();
        }
        entries.iter().filter(|field| field.table().is_some()).collect()
    }

    fn status(&mut self, fields: Option<&Fields>) -> Option<StatusLaunch> {
        let view = View::new(&raw::STATUS, fields, &["status"]);
        let listen = self.pick(&view, "listen");
        let sidebind = self.pick(&view, "sidebind");
        let addresses = match listen.datum {
            Datum::Listen(addresses) => addresses,
            _ => return None,
        };
        let first = addresses.iter().find_map(|address| match address {
            Address::Tcp(address) => Some(*address),
            Address::Unix(_) | Address::Activation => None,
        });
        let beside = match sidebind.datum {
            Datum::Address(address) => Some(address),
            Datum::Flag(true) => first,
            _ => None,
        };
        let wanted = !matches!(sidebind.datum, Datum::Flag(false) | Datum::Bad);
        if wanted && addresses.is_empty() {
            let mistake =
                Mistake::new("there is no socket for it to stand beside", "set listen, as [\"0.0.0.0:8111\"]");
            self.fault(sidebind.at, view.path("sidebind"), mistake);
        } else if wanted && beside.is_none() {
            let mistake =
                Mistake::new("\"listen\" has no TCP address to count up from", "write an address, as \"0.0.0.0:8111\"");
            self.fault(sidebind.at, view.path("sidebind"), mistake);
        }
        if addresses.is_empty() {
            return None;
        }
        let mut launch =
            StatusLaunch { listen: Vec::new(), socket_activation: false, sidebind: beside, mode: StatusMode::Up };
        for address in addresses {
            match address {
                Address::Tcp(address) => launch.listen.push(Listen::Tcp(address)),
                Address::Unix(path) => launch.listen.push(Listen::Unix(path)),
                Address::Activation => launch.socket_activation = true,
            }
        }
        Some(launch)
    }

    fn shutdown(&mut self, fields: Option<&Fields>) -> (Span, Span) {
        let view = View::new(&raw::SHUTDOWN, fields, &["shutdown"]);
        (self.span(&view, "grace-period"), self.span(&view, "readiness-delay"))
    }

    fn service(
        &mut self,
        context: &Context<'_>,
        field: &Field,
        only: bool,
    ) -> (ServicePlan, ServiceLaunch, Vec<String>) {
        let view = view_of_service(field, context.fields);
        self.pick_skip(&view);
        let command = match self.pick(&view, "command").datum {
            Datum::Words(words) => words.into_iter().map(OsString::from).collect(),
            _ => Vec::new(),
        };
        let directory = match self.pick(&view, "directory").datum {
            Datum::Text(path) => Some(PathBuf::from(path)),
            _ => None,
        };
        let env = self.variables(&view, context.fields.table("env"));
        let reason = if only { "default for the only service" } else { "default for one of several services" };
        let essential = self.pick_or(&view, "essential", Datum::Flag(only), reason).datum == Datum::Flag(true);
        let restart = self.restart(&view);
        let wait = restart.backoff.initial;
        let stop = self.stop(&view, context.grace);
        let ttl = self.ttl(&view);
        let mut service = ServicePlan { name: field.name.clone(), essential, restart, stop, ttl, probes: Vec::new() };
        let mut launch = ServiceLaunch {
            command,
            env,
            directory,
            // One terminal cannot belong to several.
            empty_input: !context.only,
            output: Output::Inherit,
            group: Group::Own,
            wait,
            ttl: ttl.map_or(Span::ZERO, |ttl| ttl.max),
            ..ServiceLaunch::default()
        };
        let probes = field.table().and_then(|own| own.table("probe"));
        let mut plugins = Vec::new();
        for probe in self.tables(probes, &view.path("probe"), "probes of one service") {
            let (plan, settings, plugin) = self.probe(context, &field.name, probe);
            service.probes.push(plan);
            launch.probes.push(settings);
            plugins.push(plugin);
        }
        (service, launch, plugins)
    }

    /// Notes `skip` where it is set; that a service is not skipped need not be said.
    fn pick_skip(&mut self, view: &View<'_>) {
        if view.find("skip").is_some() {
            self.pick(view, "skip");
        }
    }

    fn variables(&mut self, view: &View<'_>, shared: Option<&Fields>) -> Vec<(OsString, OsString)> {
        let mut merged: BTreeMap<&str, (&Field, String)> = BTreeMap::new();
        if let Some(shared) = shared {
            for field in &shared.entries {
                merged.insert(&field.name, (field, format!("[env], line {}", self.line(field.at))));
            }
        }
        let below = view.merged("env");
        for (fields, layer) in below.layers.iter().rev() {
            for field in &fields.entries {
                merged.insert(&field.name, (field, self.source(field.at, *layer)));
            }
        }
        let mut variables = Vec::new();
        for (name, (field, source)) in merged {
            self.note(&below, &print::key(name), Some(&field.datum), source);
            if let Datum::Text(value) = &field.datum {
                variables.push((OsString::from(name), OsString::from(value)));
            }
        }
        variables
    }

    fn restart(&mut self, view: &View<'_>) -> RestartPlan {
        let policy = match self.choice(view, "restart") {
            "never" => RestartPolicy::Never,
            "always" => RestartPolicy::Always,
            _ => RestartPolicy::OnFailure,
        };
        let below = view.merged("backoff");
        let initial = self.pick(&below, "initial");
        let factor = self.thousandths(&below, "factor");
        let cap = self.pick(&below, "cap");
        let backoff = BackoffPlan {
            initial: span_of(&initial.datum),
            factor,
            cap: span_of(&cap.datum),
            jitter: self.thousandths(&below, "jitter"),
            reset_after: self.span(&below, "reset-after"),
        };
        if let (Datum::Duration(initial_span), Datum::Duration(cap_span)) = (&initial.datum, &cap.datum)
            && cap_span < initial_span
        {
            let (at, key) = if below.find("cap").is_some() { (cap.at, "cap") } else { (initial.at, "initial") };
            let mistake = Mistake::new(
                format!(
                    "a cap of \"{}\" is below the initial wait of \"{}\"",
                    format_duration(*cap_span),
                    format_duration(*initial_span)
                ),
                "raise \"cap\" or lower \"initial\"",
            );
            self.fault(at, below.path(key), mistake);
        }
        let limit = match self.pick(view, "restart-limit").datum {
            Datum::Table(_) => {
                let below = view.whole("restart-limit");
                let count = match self.pick(&below, "count").datum {
                    Datum::Count(count) => count,
                    _ => 1,
                };
                let within = self.span(&below, "within");
                let then = match self.choice(&below, "then") {
                    "end-container" => LimitAction::EndContainer,
                    _ => LimitAction::GiveUp,
                };
                Some(RestartLimit { count, within, then })
            }
            _ => None,
        };
        RestartPlan { policy, backoff, limit }
    }

    fn stop(&mut self, view: &View<'_>, grace: Span) -> StopPlan {
        let below = view.merged("stop");
        let signal = match self.pick(&below, "signal").datum {
            Datum::Signal(signal) => Some(signal),
            _ => None,
        };
        let grace = match self.pick_or(&below, "grace-period", Datum::Duration(grace), "shutdown.grace-period").datum {
            Datum::Duration(grace) => Some(grace),
            _ => None,
        };
        let scope = if self.choice(&below, "scope") == "leader" { Reach::Leader } else { Reach::Group };
        StopPlan { signal, grace, scope, sweep: true }
    }

    fn ttl(&mut self, view: &View<'_>) -> Option<TtlPlan> {
        let found = self.pick(view, "ttl");
        match found.datum {
            Datum::Duration(span) => {
                if span == Span::ZERO {
                    let mistake = Mistake::new("a life of no time", "write a duration above zero, or \"unlimited\"");
                    self.fault(found.at, view.path("ttl"), mistake);
                }
                Some(TtlPlan { min: span, max: span })
            }
            Datum::Table(_) => {
                let below = view.whole("ttl");
                let min = self.span(&below, "min");
                let max = self.pick(&below, "max");
                if let Datum::Duration(max_span) = max.datum
                    && max_span < min
                {
                    let mistake = Mistake::new(
                        format!(
                            "\"{}\" is below \"min\", which is \"{}\"",
                            format_duration(max_span),
                            format_duration(min)
                        ),
                        "raise it",
                    );
                    self.fault(max.at, below.path("max"), mistake);
                }
                Some(TtlPlan { min, max: span_of(&max.datum) })
            }
            _ => None,
        }
    }

    fn probe(&mut self, context: &Context<'_>, service: &str, field: &Field) -> (ProbePlan, ProbeLaunch, String) {
        let view = View::new(&raw::PROBE, field.table(), &["service", service, "probe", &field.name]);
        let plugin = self.pick(&view, "plugin");
        let name = match plugin.datum {
            Datum::Text(name) => name,
            _ => String::new(),
        };
        if view.find("plugin").is_some_and(|(field, _)| field.datum != Datum::Bad)
            && !context.plugins.contains(name.as_str())
        {
            // Comparing with thousands of names for each of thousands of probes would take longer than it helps.
            let names = context.plugins.iter().take(256).copied();
            let remedy = match nearest(&name, names) {
                Some(near) => format!("did you mean \"{near}\"?"),
                None if value::check_name(&name).is_ok() => format!("add [plugin.{}] for it", print::key(&name)),
                None => String::from("write the NAME of a [plugin.NAME]"),
            };
            self.fault(
                plugin.at,
                view.path("plugin"),
                Mistake::new(format!("there is no plugin {}", quote(&name)), remedy),
            );
        }
        let kind = match self.choice(&view, "kind") {
            "startup" => ProbeKind::Startup,
            "liveness" => ProbeKind::Liveness,
            _ => ProbeKind::Readiness,
        };
        let plan = ProbePlan {
            name: field.name.clone(),
            kind,
            period: self.span(&view, "period"),
            timeout: self.span(&view, "timeout"),
            initial_delay: self.span(&view, "initial-delay"),
            failure_threshold: self.count(&view, "failure-threshold").unwrap_or(1),
            success_threshold: self.count(&view, "success-threshold").unwrap_or(1),
            unknown_threshold: self.count(&view, "unknown-threshold"),
        };
        let place = self.place(view.find("with").map_or(field.at, |(with, _)| with.at));
        let settings = match self.pick(&view, "with").datum {
            Datum::Settings(settings) => settings.to_string(),
            _ => String::from("{}"),
        };
        (plan, ProbeLaunch { plugin: 0, settings, place }, name)
    }

    fn plugin(&mut self, context: &Context<'_>, field: &Field, directory: &Path) -> PluginLaunch {
        let view = View::new(&raw::PLUGIN, field.table(), &["plugin", &field.name]);
        let default = default_plugin_path(&field.name);
        let path = match self.pick_or(&view, "path", Datum::Text(default), "default").datum {
            Datum::Text(path) => directory.join(path),
            _ => PathBuf::new(),
        };
        let sha256 = match self.pick(&view, "sha256").datum {
            Datum::Text(digest) => Some(digest),
            _ => None,
        };
        let memory = match self.pick(&view, "memory").datum {
            Datum::Size(bytes) => bytes,
            _ => 0,
        };
        let isolation = match self.choice(&view, "isolation") {
            "own" => Isolation::Own,
            "shared" => Isolation::Shared,
            _ => Isolation::Auto,
        };
        let reuse_instances = self.pick(&view, "reuse-instances").datum == Datum::Flag(true);
        let allow = view.merged("allow");
        let file = |entry: String| {
            let (path, mode) = entry.rsplit_once(':').unwrap_or((&entry, "ro"));
            (PathBuf::from(path), mode == "rw")
        };
        let exec = self.pick(&allow, "exec");
        let exec_at = exec.at;
        let exec = words_of(exec.datum);
        for name in exec.iter().filter(|name| !context.commands.contains(name.as_str())) {
            let remedy = match nearest(name, context.commands.iter().take(256).copied()) {
                Some(near) => format!("did you mean \"{near}\"?"),
                None => format!("add [command.{}] for it", print::key(name)),
            };
            let mistake = Mistake::new(format!("there is no command {}", quote(name)), remedy);
            self.fault(exec_at, allow.path("exec"), mistake);
        }
        let allow = Allow {
            connect: words_of(self.pick(&allow, "connect").datum),
            resolve: words_of(self.pick(&allow, "resolve").datum),
            files: words_of(self.pick(&allow, "files").datum).into_iter().map(file).collect(),
            env: words_of(self.pick(&allow, "env").datum),
            exec,
            processes: self.pick(&allow, "processes").datum == Datum::Flag(true),
        };
        let place = self.place(field.at);
        PluginLaunch {
            name: field.name.clone(),
            path,
            bundled: None,
            sha256,
            memory,
            allow,
            isolation,
            reuse_instances,
            place,
        }
    }

    fn command(&mut self, context: &Context<'_>, field: &Field) -> CommandLaunch {
        let view = View::new(&raw::COMMAND, field.table(), &["command", &field.name]);
        let run = words_of(self.pick(&view, "run").datum).into_iter().map(OsString::from).collect();
        let directory = match self.pick(&view, "directory").datum {
            Datum::Text(path) => Some(PathBuf::from(path)),
            _ => None,
        };
        let env = self.variables(&view, context.fields.table("env"));
        CommandLaunch { name: field.name.clone(), run, env, directory, timeout: self.span(&view, "timeout") }
    }

    fn span(&mut self, view: &View<'_>, name: &str) -> Span {
        span_of(&self.pick(view, name).datum)
    }

    fn choice(&mut self, view: &View<'_>, name: &str) -> &'static str {
        match self.pick(view, name).datum {
            Datum::Choice(word) => word,
            _ => "",
        }
    }

    fn count(&mut self, view: &View<'_>, name: &str) -> Option<u32> {
        match self.pick(view, name).datum {
            Datum::Count(count) => Some(count),
            _ => None,
        }
    }

    fn thousandths(&mut self, view: &View<'_>, name: &str) -> u32 {
        match self.pick(view, name).datum {
            Datum::Thousandths(thousandths) => thousandths,
            _ => 1_000,
        }
    }
}

/// What all services are resolved with.
struct Context<'a> {
    fields: &'a Fields,
    /// The plugins there are.
    plugins: BTreeSet<&'a str>,
    /// The commands there are.
    commands: BTreeSet<&'a str>,
    grace: Span,
    /// Whether one service only is not skipped.
    only: bool,
}

/// A service over the defaults.
fn view_of_service<'a>(field: &'a Field, fields: &'a Fields) -> View<'a> {
    let mut view = View::new(&raw::SERVICE, field.table(), &["service", &field.name]);
    view.layers.extend(fields.table("defaults").map(|defaults| (defaults, Layer::Defaults)));
    view
}

fn words_of(datum: Datum) -> Vec<String> {
    match datum {
        Datum::Words(words) => words,
        _ => Vec::new(),
    }
}

fn span_of(datum: &Datum) -> Span {
    match datum {
        Datum::Duration(span) => *span,
        _ => Span::ZERO,
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed test is what a panic here is for")]
    use super::load;
    use crate::{
        Allow, CommandLaunch, Group, Isolation, Launch, Listen, Output, Place, PluginLaunch, ProbeLaunch,
        ProcessLaunch, ServiceLaunch, StatusLaunch, StatusMode,
    };
    use hilum_engine::{
        BackoffPlan, LimitAction, Plan, ProbeKind, ProbePlan, RestartLimit, RestartPlan, RestartPolicy, Scope,
        ServicePlan, Signal, SignalPlan, SignalSet, Span, StopPlan, TtlPlan,
    };
    use std::ffi::OsString;
    use std::path::{Path, PathBuf};

    fn launch(text: &str) -> Launch {
        load(text, Path::new("/etc/hilum.toml"), &|_| None).unwrap().launch
    }

    #[test]
    fn what_is_left_out_has_the_documented_defaults() {
        let found = launch("[service.web]\ncommand = [\"/app/web\", \"-v\"]\n");
        let backoff = BackoffPlan {
            initial: Span::from_millis(200),
            factor: 2_000,
            cap: Span::from_secs(30),
            jitter: 200,
            reset_after: Span::from_secs(60),
        };
        let service = ServicePlan {
            name: String::from("web"),
            essential: true,
            restart: RestartPlan { policy: RestartPolicy::OnFailure, backoff, limit: None },
            stop: StopPlan {
                signal: Some(Signal::TERM),
                grace: Some(Span::from_secs(10)),
                scope: Scope::Group,
                sweep: true,
            },
            ttl: None,
            probes: Vec::new(),
        };
        let shell = ServiceLaunch {
            command: vec![OsString::from("/app/web"), OsString::from("-v")],
            output: Output::Inherit,
            group: Group::Own,
            wait: Span::from_millis(200),
            ..ServiceLaunch::default()
        };
        let expected = Launch {
            plan: Plan {
                services: vec![service],
                signals: SignalPlan {
                    stop: SignalSet::of(&[Signal::TERM, Signal::INT, Signal::QUIT]),
                    forward: SignalSet::EMPTY,
                    delay: Span::ZERO,
                    ..SignalPlan::default()
                },
                ..Plan::default()
            },
            services: vec![shell],
            plugins: Vec::new(),
            commands: Vec::new(),
            status: None,
            process: ProcessLaunch {
                last_resort_grace: Span::from_secs(10),
                reloads: true,
                ..ProcessLaunch::default()
            },
        };
        assert_eq!(found, expected);
    }

    #[test]
    fn every_key_arrives_where_it_belongs() {
        let found = launch(
            r#"
            [status]
            listen = ["127.0.0.1:81", "unix:/run/s"]
            sidebind = true
            [shutdown]
            grace-period = "7s"
            readiness-delay = "3s"
            [service.off]
            command = ["/off"]
            skip = true
            probe.x = { plugin = "unused", kind = "liveness" }
            [service.web]
            command = "/app/web -v"
            env = { B = "2", A = "1" }
            directory = "/srv"
            essential = false
            restart = "always"
            backoff = { initial = "1s", factor = 1.5, cap = "2s", jitter = 0.5, reset-after = "3s" }
            restart-limit = { count = 4, within = "5s", then = "end-container" }
            stop = { signal = "QUIT", scope = "leader" }
            ttl = { min = "1m", max = "2m" }
            [service.web.probe.first]
            plugin = "b"
            kind = "startup"
            period = "11s"
            timeout = "12s"
            initial-delay = "13s"
            failure-threshold = 14
            success-threshold = 15
            unknown-threshold = 16
            with = { z = [1, "two"], a = { b = true } }
            [service.web.probe.second]
            plugin = "a"
            kind = "liveness"
            [plugin.unused]
            [plugin.a]
            path = "plugins/a.cwasm"
            [plugin.b]
            sha256 = "0123456789ABCDEF0123456789abcdef0123456789abcdef0123456789abcdef"
            memory = "1MiB"
            isolation = "own"
            reuse-instances = true
            allow.connect = ["db:*"]
            allow.resolve = ["*.example"]
            allow.files = ["/run/a:ro", "/run/b:rw"]
            allow.env = ["TOKEN"]
            allow.exec = ["reload"]
            allow.processes = true
            [command.reload]
            run = "/app/reload now"
            env = { C = "3" }
            directory = "/app"
            timeout = "5s"
            "#,
        );
        let seconds = Span::from_secs;
        assert_eq!(
            found.status,
            Some(StatusLaunch {
                listen: vec![Listen::Tcp("127.0.0.1:81".parse().unwrap()), Listen::Unix(PathBuf::from("/run/s"))],
                socket_activation: false,
                sidebind: Some("127.0.0.1:81".parse().unwrap()),
                mode: StatusMode::Up,
            })
        );
        assert_eq!((found.plan.signals.delay, found.process.last_resort_grace), (seconds(3), seconds(7)));
        let backoff =
            BackoffPlan { initial: seconds(1), factor: 1_500, cap: seconds(2), jitter: 500, reset_after: seconds(3) };
        let limit = RestartLimit { count: 4, within: seconds(5), then: LimitAction::EndContainer };
        let first = ProbePlan {
            name: String::from("first"),
            kind: ProbeKind::Startup,
            period: seconds(11),
            timeout: seconds(12),
            initial_delay: seconds(13),
            failure_threshold: 14,
            success_threshold: 15,
            unknown_threshold: Some(16),
        };
        let second = ProbePlan {
            name: String::from("second"),
            kind: ProbeKind::Liveness,
            period: seconds(10),
            timeout: seconds(1),
            initial_delay: Span::ZERO,
            failure_threshold: 3,
            success_threshold: 1,
            unknown_threshold: None,
        };
        assert_eq!(
            found.plan.services,
            [ServicePlan {
                name: String::from("web"),
                essential: false,
                restart: RestartPlan { policy: RestartPolicy::Always, backoff, limit: Some(limit) },
                stop: StopPlan {
                    signal: Some(Signal::QUIT),
                    grace: Some(seconds(7)),
                    scope: Scope::Leader,
                    sweep: true
                },
                ttl: Some(TtlPlan { min: seconds(60), max: seconds(120) }),
                probes: vec![first, second],
            }]
        );
        let text = OsString::from;
        assert_eq!(
            found.services,
            [ServiceLaunch {
                command: vec![text("/app/web"), text("-v")],
                env: vec![(text("A"), text("1")), (text("B"), text("2"))],
                directory: Some(PathBuf::from("/srv")),
                probes: vec![
                    ProbeLaunch {
                        plugin: 1,
                        settings: String::from(r#"{"a":{"b":true},"z":[1,"two"]}"#),
                        place: Place::default()
                    },
                    ProbeLaunch { plugin: 0, settings: String::from("{}"), place: Place::default() },
                ],
                wait: seconds(1),
                ttl: seconds(120),
                ..ServiceLaunch::default()
            }]
        );
        // A plugin that no running service calls is not there: no worker is started for it.
        assert_eq!(
            found.plugins,
            [
                PluginLaunch {
                    name: String::from("a"),
                    path: PathBuf::from("/etc/plugins/a.cwasm"),
                    bundled: None,
                    sha256: None,
                    memory: 4 << 20,
                    allow: Allow::default(),
                    isolation: Isolation::Auto,
                    reuse_instances: false,
                    place: Place::default(),
                },
                PluginLaunch {
                    name: String::from("b"),
                    path: PathBuf::from("/plugins/b.cwasm"),
                    bundled: None,
                    sha256: Some(String::from("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef")),
                    memory: 1 << 20,
                    allow: Allow {
                        connect: vec![String::from("db:*")],
                        resolve: vec![String::from("*.example")],
                        files: vec![(PathBuf::from("/run/a"), false), (PathBuf::from("/run/b"), true)],
                        env: vec![String::from("TOKEN")],
                        exec: vec![String::from("reload")],
                        processes: true,
                    },
                    isolation: Isolation::Own,
                    reuse_instances: true,
                    place: Place::default(),
                },
            ]
        );
        let places = found.services.iter().flat_map(|service| &service.probes).map(|probe| probe.place);
        let places = places.chain(found.plugins.iter().map(|plugin| plugin.place));
        let places: Vec<_> = places.map(|place| (place.line, place.column)).collect();
        assert_eq!(places, [(31, 13), (32, 32), (36, 21), (38, 21)]);
        assert_eq!(
            found.commands,
            [CommandLaunch {
                name: String::from("reload"),
                run: vec![text("/app/reload"), text("now")],
                env: vec![(text("C"), text("3"))],
                directory: Some(PathBuf::from("/app")),
                timeout: seconds(5),
            }]
        );
    }

    #[test]
    fn only_one_service_gets_the_terminal() {
        let two = launch("[service.a]\ncommand = [\"/a\"]\n[service.b]\ncommand = [\"/b\"]\n");
        assert!(two.services.iter().all(|service| service.empty_input));
        assert!(two.plan.services.iter().all(|service| !service.essential));
    }
}
