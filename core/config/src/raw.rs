//! The plan file as typed: one table of keys, which says what may stand where and what holds otherwise. The same table
//! checks the file, fills in the defaults and writes the reference page.

use crate::diagnose::{Mistake, alternatives, nearest};
use crate::unit::format_thousandths;

/// One kind of table.
#[derive(Debug)]
pub(crate) struct Schema {
    /// The keys it may have.
    pub(crate) keys: &'static [Key],
    /// Keys of later versions: named as such, so that nobody looks for a typing error.
    pub(crate) later: &'static [&'static str],
}

/// One key.
#[derive(Debug)]
pub(crate) struct Key {
    /// Its name in the file.
    pub(crate) name: &'static str,
    /// What its value looks like.
    pub(crate) shape: Shape,
    /// What holds where it is left out.
    pub(crate) absent: Absent,
    /// What it does, in the words of the reference page.
    pub(crate) meaning: &'static str,
}

/// What holds where a key is left out.
#[derive(Debug)]
pub(crate) enum Absent {
    /// It may not be left out.
    Required,
    /// This value, written as in the file.
    Default(&'static str),
    /// This, which no value of the key says.
    Otherwise(&'static str),
}

/// What a value looks like.
#[derive(Debug)]
pub(crate) enum Shape {
    /// `true` or `false`.
    Flag,
    /// Any string but one with a NUL.
    Text,
    /// An absolute path.
    Directory,
    /// A path that may be relative.
    Path,
    /// A duration; zero only if told.
    Duration {
        /// Whether zero makes sense.
        zero: bool,
    },
    /// A duration or `"unlimited"`.
    Patience,
    /// Only the word `"unlimited"`.
    Unlimited,
    /// A size within these bounds, in bytes.
    Size(u64, u64),
    /// A whole number of at least 1.
    Count,
    /// A number within these bounds, in thousandths.
    Thousandths(u32, u32),
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A signal that can end a process.
    Signal,
    /// A list of words, or a string that is split.
    Command,
    /// Addresses to listen on.
    Listen,
    /// A flag or an address.
    Sidebind,
    /// A list of grants of this kind.
    Grants(Grant),
    /// 64 hexadecimal digits.
    Digest,
    /// Names with string values for the environment.
    Variables,
    /// Any table; the plugin knows what it means.
    Settings,
    /// A table of its own.
    Table(&'static Schema),
    /// A table of its own, or a single value of this shape.
    Either(&'static Schema, &'static Shape),
    /// Tables by name.
    Named(&'static Schema),
}

/// What an entry of a grant names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Grant {
    /// A place to connect to.
    Place,
    /// A name to look up.
    Name,
    /// A file or directory.
    File,
    /// A variable.
    Variable,
    /// A command.
    Command,
}

const RESTARTS: &[&str] = &["never", "on-failure", "always"];
const KINDS: &[&str] = &["startup", "readiness", "liveness"];

/// The whole file.
pub(crate) static PLAN: Schema = Schema {
    keys: &[
        key("status", Shape::Table(&STATUS), Absent::Otherwise("no status socket"), "The status sockets."),
        key("shutdown", Shape::Table(&SHUTDOWN), Absent::Otherwise("defaults"), "How the container stops."),
        key(
            "defaults",
            Shape::Table(&DEFAULTS),
            Absent::Otherwise("built-in defaults"),
            "Values for services that do not say otherwise: any key of `[service.NAME]` but `probe`. Of `env`, `backoff` and `stop` \
             each single key is a default; `ttl` and `restart-limit` are taken as a whole.",
        ),
        key(
            "env",
            Shape::Variables,
            Absent::Otherwise("nothing added"),
            "Environment variables for all services, over hilum's own environment. `[defaults.env]` and a service's `env` come before it.",
        ),
        key(
            "service",
            Shape::Named(&SERVICE),
            Absent::Required,
            "The services, by name, in the order they are started in.",
        ),
        key("plugin", Shape::Named(&PLUGIN), Absent::Otherwise("none"), "The plugins that probes call, by name."),
        key(
            "command",
            Shape::Named(&COMMAND),
            Absent::Otherwise("none"),
            "Commands that plugins may ask to be run, by name, where `allow.exec` of the plugin names them.",
        ),
    ],
    later: &["log", "control", "discovery", "backend", "lease", "cluster", "pod", "sensor"],
};

pub(crate) static STATUS: Schema = Schema {
    keys: &[
        key(
            "listen",
            Shape::Listen,
            Absent::Default("[]"),
            "Where status is served: `\"0.0.0.0:8111\"`, `\"[::]:8111\"`, `\"unix:/run/status.sock\"`, several of them, or only \
             `\"socket-activation\"` for the sockets systemd passes. None: no status is served, and no process runs for it.",
        ),
        key(
            "sidebind",
            Shape::Sidebind,
            Absent::Default("false"),
            "One more socket at the next free port above: `true` for above the first TCP address of `listen`, or an address as \
             `\"0.0.0.0:8111\"`.",
        ),
    ],
    later: &[],
};

pub(crate) static SHUTDOWN: Schema = Schema {
    keys: &[
        key(
            "grace-period",
            Shape::Duration { zero: true },
            Absent::Default("\"10s\""),
            "`stop.grace-period` of services that do not set it, and the time between TERM and KILL if hilum itself crashes.",
        ),
        key(
            "readiness-delay",
            Shape::Duration { zero: true },
            Absent::Default("\"0s\""),
            "Time between the signal to stop and its passing on to services, in which readiness already says no, so that load \
             balancers can notice.",
        ),
    ],
    later: &[],
};

/// The keys of a service.
static SERVICE_KEYS: [Key; 11] = [
    key(
        "command",
        Shape::Command,
        Absent::Required,
        "What to run: a list of words, or one string that is split by the quoting rules of a POSIX shell. No shell is started. A \
         command without a slash is looked up in the service's `PATH`.",
    ),
    key(
        "env",
        Shape::Variables,
        Absent::Otherwise("nothing added"),
        "Environment variables for this service, over `[env]`.",
    ),
    key(
        "directory",
        Shape::Directory,
        Absent::Otherwise("hilum's own directory"),
        "Where it starts. An absolute path.",
    ),
    key(
        "essential",
        Shape::Flag,
        Absent::Otherwise("`true` for the only service of a plan, else `false`"),
        "Whether its end for good ends the container with its exit code.",
    ),
    key(
        "restart",
        Shape::Choice(RESTARTS),
        Absent::Default("\"on-failure\""),
        "After which exits it runs again: none; those with a code other than 0, by a signal or because of a probe; or all.",
    ),
    key("backoff", Shape::Table(&BACKOFF), Absent::Otherwise("defaults"), "The wait before it runs again."),
    key(
        "restart-limit",
        Shape::Either(&RESTART_LIMIT, &Shape::Unlimited),
        Absent::Default("\"unlimited\""),
        "How many restarts are too many.",
    ),
    key("stop", Shape::Table(&STOP), Absent::Otherwise("defaults"), "How it is stopped."),
    key(
        "ttl",
        Shape::Either(&TTL, &Shape::Patience),
        Absent::Default("\"unlimited\""),
        "Longest life of one run; then it is stopped and, by its restart policy, started again. `{ min = \"20m\", max = \"40m\" }` draws \
         each run's from the range.",
    ),
    key(
        "skip",
        Shape::Flag,
        Absent::Default("false"),
        "Whether to leave it out, as if it were not in the plan. It is checked all the same.",
    ),
    // The last one, for `DEFAULTS` has all but this.
    key("probe", Shape::Named(&PROBE), Absent::Otherwise("none"), "Its probes, by name."),
];

/// Keys of a service that later versions have.
const SERVICE_LATER: &[&str] = &[
    "env-files",
    "clear-env",
    "user",
    "group",
    "groups",
    "chroot",
    "umask",
    "nice",
    "io-priority",
    "oom-score",
    "rlimit",
    "capabilities",
    "no-new-privileges",
    "cgroup",
    "network-namespace",
    "stdin",
    "tty",
    "session",
    "kind",
    "every",
    "on-overlap",
    "after",
    "stop-with",
    "replicas",
    "notify",
    "ports",
    "register",
    "on",
];

/// One service.
pub(crate) static SERVICE: Schema = Schema { keys: &SERVICE_KEYS, later: SERVICE_LATER };

/// What services have in common.
pub(crate) static DEFAULTS: Schema = Schema { keys: SERVICE_KEYS.split_at(10).0, later: SERVICE_LATER };

pub(crate) static BACKOFF: Schema = Schema {
    keys: &[
        key("initial", Shape::Duration { zero: true }, Absent::Default("\"200ms\""), "Wait before the first restart."),
        key(
            "factor",
            Shape::Thousandths(1_000, 1_000_000),
            Absent::Default("2"),
            "What the wait is multiplied by for each further restart.",
        ),
        key("cap", Shape::Duration { zero: true }, Absent::Default("\"30s\""), "Longest wait; not below `initial`."),
        key(
            "jitter",
            Shape::Thousandths(0, 1_000),
            Absent::Default("0.2"),
            "Largest part of a wait that chance may take off, so that many containers do not restart in step.",
        ),
        key(
            "reset-after",
            Shape::Duration { zero: true },
            Absent::Default("\"1m\""),
            "A run that lasted this long brings the wait back to `initial`.",
        ),
    ],
    later: &[],
};

pub(crate) static RESTART_LIMIT: Schema = Schema {
    keys: &[
        key(
            "count",
            Shape::Count,
            Absent::Required,
            "So many restarts within the window are made; the next one is not.",
        ),
        key("within", Shape::Duration { zero: false }, Absent::Default("\"1m\""), "The window, which slides."),
        key(
            "then",
            Shape::Choice(&["give-up", "end-container"]),
            Absent::Default("\"give-up\""),
            "What happens instead: the service has ended for good, or the container ends with its last exit code.",
        ),
    ],
    later: &[],
};

pub(crate) static STOP: Schema = Schema {
    keys: &[
        key(
            "signal",
            Shape::Signal,
            Absent::Default("\"TERM\""),
            "The polite signal: `\"TERM\"`, `\"SIGTERM\"`, `15`, `\"RTMIN+3\"`.",
        ),
        key(
            "grace-period",
            Shape::Patience,
            Absent::Otherwise("`shutdown.grace-period`"),
            "Time from the polite signal to KILL. `\"unlimited\"`: it is never killed; whoever runs the container has a time-out of \
             its own.",
        ),
        key(
            "scope",
            Shape::Choice(&["group", "leader"]),
            Absent::Default("\"group\""),
            "Whom signals reach: the service's whole process group, or the process hilum started. What is left of the group once that \
             process has ended is stopped too.",
        ),
    ],
    later: &["before", "rewrite"],
};

pub(crate) static TTL: Schema = Schema {
    keys: &[
        key("min", Shape::Duration { zero: false }, Absent::Required, "Shortest life."),
        key("max", Shape::Duration { zero: false }, Absent::Required, "Longest life; not below `min`."),
    ],
    later: &["while-ready"],
};

pub(crate) static PROBE: Schema = Schema {
    keys: &[
        key("plugin", Shape::Text, Absent::Required, "The plugin it calls: the `NAME` of a `[plugin.NAME]`."),
        key(
            "kind",
            Shape::Choice(KINDS),
            Absent::Required,
            "What it decides. `startup`: the others wait for it, failing restarts the service. `readiness`: failing takes it out of rotation. \
             `liveness`: failing restarts it.",
        ),
        key("period", Shape::Duration { zero: false }, Absent::Default("\"10s\""), "From one call to the next."),
        key(
            "timeout",
            Shape::Duration { zero: false },
            Absent::Default("\"1s\""),
            "How long one call may take; an answer that comes later counts as unknown.",
        ),
        key(
            "initial-delay",
            Shape::Duration { zero: true },
            Absent::Default("\"0s\""),
            "From the start of the service (or the success of its startup probe) to the first call.",
        ),
        key("failure-threshold", Shape::Count, Absent::Default("3"), "So many failures in a row make it failing."),
        key("success-threshold", Shape::Count, Absent::Default("1"), "So many passes in a row make it passing."),
        key(
            "unknown-threshold",
            Shape::Count,
            Absent::Otherwise("unknown answers change nothing"),
            "So many unknown answers in a row count as failing.",
        ),
        key(
            "with",
            Shape::Settings,
            Absent::Default("{}"),
            "What the plugin is told; its page says what it understands.",
        ),
    ],
    later: &[],
};

/// One plugin.
pub(crate) static PLUGIN: Schema = Schema {
    keys: &[
        key(
            "path",
            Shape::Path,
            Absent::Otherwise("bundled with hilum, or `/plugins/NAME.cwasm`"),
            "The precompiled component. A relative path begins at the plan file's directory. Plugins of one file, under several names with grants of \
             their own, have its code in memory once.",
        ),
        key(
            "sha256",
            Shape::Digest,
            Absent::Otherwise("not pinned: the file must belong to root and be writable by no one else"),
            "Digest the file must have.",
        ),
        key(
            "memory",
            Shape::Size(65_536, 1 << 32),
            Absent::Default("\"4MiB\""),
            "Cap of its memory in one call, from 64KiB to 4GiB.",
        ),
        key(
            "isolation",
            Shape::Choice(&["auto", "shared", "own"]),
            Absent::Default("\"auto\""),
            "`shared`: one worker process with other plugins. `own`: one of its own. `auto`: shared, until its calls have used 50 ms of a \
             processor beyond a hundredth of the time; then its own.",
        ),
        key(
            "reuse-instances",
            Shape::Flag,
            Absent::Default("false"),
            "Whether an instance of it that answered serves further calls, up to 1,000. A short call then takes a third of the processor time, but what it \
             leaves in the plugin's memory the next one finds. Kept are at most four that hold no more than `memory` together, none that holds \
             more than half of it, and none that left a handle open.",
        ),
        key("allow", Shape::Table(&ALLOW), Absent::Otherwise("nothing is allowed"), "What it may do."),
    ],
    later: &[],
};

pub(crate) static ALLOW: Schema = Schema {
    keys: &[
        key(
            "connect",
            Shape::Grants(Grant::Place),
            Absent::Default("[]"),
            "Where it may connect to: `\"127.0.0.1:8080\"`, `\"db:5432\"`, `\"[::1]:80\"` over TCP, `\"udp:10.0.0.2:53\"`, `\"unix:/run/app.sock\"`; \
             `*` for any host or any port. A name that DNS leads to this machine or its link needs that address here too.",
        ),
        key(
            "resolve",
            Shape::Grants(Grant::Name),
            Absent::Default("[]"),
            "Names it may look up: `\"db.example\"`, `\"*.example\"` for all below, `\"*\"` for all. Names in `connect` need not be here.",
        ),
        key(
            "files",
            Shape::Grants(Grant::File),
            Absent::Default("[]"),
            "Files and directories it may use, with all below them: `\"/run/app:ro\"` to read, `\"/run/app:rw\"` to read and write.",
        ),
        key(
            "env",
            Shape::Grants(Grant::Variable),
            Absent::Default("[]"),
            "Variables of hilum's own environment it may read.",
        ),
        key(
            "exec",
            Shape::Grants(Grant::Command),
            Absent::Default("[]"),
            "Commands it may ask to be run: the `NAME` of a `[command.NAME]`.",
        ),
        key("processes", Shape::Flag, Absent::Default("false"), "Whether it may see the processes of the container."),
    ],
    later: &["listen", "metadata"],
};

/// One command.
pub(crate) static COMMAND: Schema = Schema {
    keys: &[
        key(
            "run",
            Shape::Command,
            Absent::Required,
            "What to run, as `command` of a service. Its standard input is empty; what it writes goes to the plugin that asked.",
        ),
        key("env", Shape::Variables, Absent::Otherwise("nothing added"), "Environment variables for it, over `[env]`."),
        key(
            "directory",
            Shape::Directory,
            Absent::Otherwise("hilum's own directory"),
            "Where it starts. An absolute path.",
        ),
        key(
            "timeout",
            Shape::Duration { zero: false },
            Absent::Default("\"30s\""),
            "How long it may run; then it is killed with its process group. The time of the call that asked for it ends it too.",
        ),
    ],
    later: &["user"],
};

const fn key(name: &'static str, shape: Shape, absent: Absent, meaning: &'static str) -> Key {
    Key { name, shape, absent, meaning }
}

impl Schema {
    /// The key of this name.
    pub(crate) fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }

    /// The key somebody meant who wrote `name`, if it is but a slip.
    pub(crate) fn meant(&self, name: &str) -> Option<&'static Key> {
        if self.later.contains(&name) {
            return None;
        }
        nearest(name, self.keys.iter().map(|key| key.name)).and_then(|near| self.key(near))
    }

    /// What to say about a key that is not here.
    pub(crate) fn unknown(&self, name: &str) -> Mistake {
        if self.later.contains(&name) {
            return Mistake::new("not in this version of hilum", "remove it");
        }
        if let Some(meant) = self.meant(name) {
            return Mistake::new("unknown key", format!("did you mean \"{}\"?", meant.name));
        }
        if name == "probe" {
            return Mistake::new("probes belong to one service", "write [service.NAME.probe.NAME]");
        }
        for key in self.keys {
            if let Shape::Table(inner) | Shape::Either(inner, _) = key.shape
                && inner.key(name).is_some()
            {
                return Mistake::new("unknown key", format!("did you mean \"{}.{name}\"?", key.name));
            }
        }
        let names: Vec<&str> = self.keys.iter().map(|key| key.name).collect();
        Mistake::new("unknown key", format!("the keys here are {}", names.join(", ")))
    }
}

impl Shape {
    /// What is expected, for messages and the reference page.
    pub(crate) fn describe(&self) -> String {
        match self {
            Shape::Flag => String::from("true or false"),
            Shape::Text => String::from("a string"),
            Shape::Directory | Shape::Path => String::from("a path"),
            Shape::Duration { zero: true } => String::from("a duration"),
            Shape::Duration { zero: false } => String::from("a duration above zero"),
            Shape::Patience => String::from("a duration or \"unlimited\""),
            Shape::Unlimited => String::from("a table or \"unlimited\""),
            Shape::Size(..) => String::from("a size"),
            Shape::Count => String::from("a whole number from 1"),
            Shape::Thousandths(low, high) => {
                format!("a number from {} to {}", format_thousandths(*low), format_thousandths(*high))
            }
            Shape::Choice(words) => alternatives(words),
            Shape::Signal => String::from("a signal"),
            Shape::Command => String::from("a list of strings or a string"),
            Shape::Listen | Shape::Grants(Grant::Place) => String::from("a list of addresses"),
            Shape::Grants(Grant::Name | Grant::Variable | Grant::Command) => String::from("a list of names"),
            Shape::Grants(Grant::File) => String::from("a list of paths"),
            Shape::Sidebind => String::from("true, false or an address"),
            Shape::Digest => String::from("64 hexadecimal digits"),
            Shape::Variables => String::from("a table of strings"),
            Shape::Settings | Shape::Table(_) => String::from("a table"),
            Shape::Either(_, single) => match single {
                Shape::Unlimited => single.describe(),
                other => format!("a table, {}", other.describe()),
            },
            Shape::Named(_) => String::from("a table of tables"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Absent, DEFAULTS, PLAN, SERVICE, Schema, Shape};
    use crate::value::{Datum, built_in};

    fn every(schema: &'static Schema, check: &mut impl FnMut(&'static Schema)) {
        check(schema);
        for key in schema.keys {
            if let Shape::Table(inner) | Shape::Either(inner, _) | Shape::Named(inner) = key.shape {
                every(inner, check);
            }
        }
    }

    #[test]
    fn every_default_is_a_value_of_its_key() {
        let mut defaults = 0;
        every(&PLAN, &mut |schema| {
            for key in schema.keys {
                if let Absent::Default(text) = key.absent {
                    assert!(built_in(key).is_some_and(|datum| datum != Datum::Bad), "{} = {text}", key.name);
                    defaults += 1;
                }
            }
        });
        assert!(defaults > 30, "only {defaults} defaults were looked at");
    }

    #[test]
    fn no_key_of_this_version_is_called_one_of_a_later() {
        every(&PLAN, &mut |schema| {
            for key in schema.keys {
                assert!(!schema.later.contains(&key.name), "{}", key.name);
            }
        });
    }

    #[test]
    fn defaults_have_every_key_of_a_service_but_its_probes() {
        assert_eq!(DEFAULTS.keys.len() + 1, SERVICE.keys.len());
        assert!(SERVICE.key("probe").is_some() && DEFAULTS.key("probe").is_none());
    }
}
