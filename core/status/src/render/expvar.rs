//! `/debug/vars`: what Go's expvar shows, so that its readers find their keys.
//!
//! `memstats` is about the `status` worker itself, the one process that is like kapo's server. It has no garbage collector: what has no
//! equivalent is zero. PID 1 is not looked at, for that would need its `/proc`.

use super::json::Json;
use super::kapo;
use crate::snapshot::View;

/// Sizes of this process. **Units:** bytes; 0 where unknown.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Memory {
    /// Resident set.
    pub(crate) resident: u64,
    /// Resident and private to the process.
    pub(crate) anonymous: u64,
    /// Stack.
    pub(crate) stack: u64,
}

impl Memory {
    /// Reads the text of `/proc/self/status` (proc_pid_status(5)); an empty one, where there is no `/proc`, says nothing.
    pub(crate) fn parse(status: &str) -> Memory {
        let mut memory = Memory::default();
        for (name, value) in status.lines().filter_map(|line| line.split_once(':')) {
            let bytes = || {
                let kibibytes = value.trim().strip_suffix(" kB").and_then(|number| number.parse::<u64>().ok());
                kibibytes.unwrap_or_default().saturating_mul(1024)
            };
            match name {
                "VmRSS" => memory.resident = bytes(),
                "RssAnon" => memory.anonymous = bytes(),
                "VmStk" => memory.stack = bytes(),
                _ => {}
            }
        }
        memory
    }
}

/// The object: kapo's two keys first, ours after them, one a line.
pub(crate) fn object(view: View<'_>, memory: Memory) -> String {
    let overview = view.overview;
    let mut json = Json::default();
    json.object(|json| {
        json.space("\n");
        json.key("cmdline").array(&overview.cmdline, |json, word| json.string(word));
        json.next_line();
        json.key("memstats").object(|json| write_memory(json, memory));
        json.next_line();
        json.key("hilum").object(|json| {
            json.key("version").string(&overview.version);
            json.key("mode").string(kapo::mode(overview.mode));
            json.key("ready").boolean(overview.ready);
            json.key("started").boolean(overview.started);
            json.key("alive").boolean(overview.alive);
            json.key("services").number(overview.services);
            let restarts = view.services().fold(0, |sum: u64, service| sum.saturating_add(service.report.restarts));
            json.key("restarts").number(restarts);
            json.key("log_lines_dropped").number(overview.log_dropped);
            json.key("orphans_reaped").number(overview.orphans_reaped);
        });
        json.space("\n");
    });
    json.space("\n");
    json.finish()
}

/// The members of Go's `runtime.MemStats`, in its order.
fn write_memory(json: &mut Json, memory: Memory) {
    let Memory { resident, anonymous, stack } = memory;
    let sizes = [
        ("Alloc", anonymous),
        ("TotalAlloc", 0),
        ("Sys", resident),
        ("Lookups", 0),
        ("Mallocs", 0),
        ("Frees", 0),
        ("HeapAlloc", anonymous),
        ("HeapSys", anonymous),
        ("HeapIdle", 0),
        ("HeapInuse", anonymous),
        ("HeapReleased", 0),
        ("HeapObjects", 0),
        ("StackInuse", stack),
        ("StackSys", stack),
        ("MSpanInuse", 0),
        ("MSpanSys", 0),
        ("MCacheInuse", 0),
        ("MCacheSys", 0),
        ("BuckHashSys", 0),
        ("GCSys", 0),
        ("OtherSys", resident.saturating_sub(anonymous.saturating_add(stack))),
        ("NextGC", 0),
        ("LastGC", 0),
        ("PauseTotalNs", 0),
    ];
    for (name, bytes) in sizes {
        json.key(name).number(bytes);
    }
    for name in ["PauseNs", "PauseEnd"] {
        json.key(name).array([0; 256], Json::number);
    }
    for name in ["NumGC", "NumForcedGC", "GCCPUFraction"] {
        json.key(name).number(0);
    }
    json.key("EnableGC").boolean(false);
    json.key("DebugGC").boolean(false);
    json.key("BySize").array([(); 61], |json, ()| {
        json.object(|json| {
            for name in ["Size", "Mallocs", "Frees"] {
                json.key(name).number(0);
            }
        });
    });
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that fails here has failed")]

    use super::{Memory, object};
    use crate::render::sample::snapshot;

    #[test]
    fn kapos_keys_come_first_and_one_a_line() {
        let memory = Memory { resident: 3 << 20, anonymous: 1 << 20, stack: 132 << 10 };
        let text = object(snapshot().view().unwrap(), memory);
        assert!(text.starts_with(
            "{\n\"cmdline\":[\"hilum\",\"up\"],\n\"memstats\":{\"Alloc\":1048576,\"TotalAlloc\":0,\"Sys\":"
        ));
        assert!(text.contains("},\n\"hilum\":{") && text.ends_with("}\n}\n"));
        assert_eq!(text.lines().count(), 5);
        let vars: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(vars["memstats"]["Sys"], 3 << 20);
        assert_eq!(vars["memstats"]["PauseNs"].as_array().unwrap().len(), 256);
        assert_eq!(vars["memstats"]["BySize"].as_array().unwrap().len(), 61);
        assert_eq!(vars["hilum"]["restarts"], 4);
        let keys = "Alloc TotalAlloc Sys Lookups Mallocs Frees HeapAlloc HeapSys HeapIdle HeapInuse HeapReleased HeapObjects \
            StackInuse StackSys MSpanInuse MSpanSys MCacheInuse MCacheSys BuckHashSys GCSys OtherSys NextGC LastGC PauseTotalNs \
            PauseNs PauseEnd NumGC NumForcedGC GCCPUFraction EnableGC DebugGC BySize";
        let mut rest = text.as_str();
        for key in keys.split_whitespace() {
            rest = rest.split_once(&format!("\"{key}\":")).unwrap_or_else(|| unreachable!("{key} is out of order")).1;
        }
    }

    #[test]
    fn sizes_are_read_from_proc() {
        let memory = Memory::parse("Name:\tx\nVmRSS:\t    3072 kB\nRssAnon:\t 1024 kB\nVmStk:\t132 kB\nThreads:\t1\n");
        assert_eq!(memory, Memory { resident: 3 << 20, anonymous: 1 << 20, stack: 132 << 10 });
        assert_eq!(Memory::parse(""), Memory::default());
        assert_eq!(Memory::parse("VmRSS: 99999999999999999999 kB\nVmRSS\nVmStk: x"), Memory::default());
    }
}
