//! No text makes `load` panic, and whatever it answers holds together: mistakes in order and inside the text, launches
//! that survive printing.
#![expect(clippy::unwrap_used, reason = "a failed test is what a panic here is for")]

mod environment;

use std::fs;
use std::path::Path;

use hilum_config::{MAX_PLAN, example, load};

/// xorshift64*: the same texts on every run, and a failing one by its number.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let high = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(high).unwrap() % bound.max(1)
    }

    fn one<'a, T: ?Sized>(&mut self, items: &[&'a T]) -> &'a T {
        items.get(self.below(items.len())).unwrap()
    }

    /// A place between two characters of `text`.
    fn place(&mut self, text: &str) -> usize {
        let mut at = self.below(text.len() + 1);
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        at
    }
}

/// Pieces that mean something in a plan.
const PIECES: &[&str] = &[
    "[service.web]\n",
    "[[service]]\n",
    "[service.web.probe.p]\n",
    "[plugin.q]\n",
    "[defaults]\n",
    "[env]\n",
    "command = ",
    "kind = ",
    "plugin = ",
    "with = ",
    "ttl = ",
    "stop = ",
    "skip = true\n",
    "listen = ",
    "\"10s\"",
    "\"unlimited\"",
    "{ min = \"1s\", max = \"2s\" }",
    "[]",
    "{}",
    "{",
    "}",
    "[",
    "]",
    "\"",
    "'",
    "\"\"\"",
    "'''",
    "\\",
    "\\u0000",
    "\\U0010FFFF",
    "\n",
    "\r\n",
    "\r",
    "\t",
    "#",
    "=",
    ".",
    ",",
    "0",
    "-1",
    "1e999",
    "nan",
    "0xff",
    "99999999999999999999",
    "1979-05-27T07:32:00Z",
    "true",
    "${PORT}",
    "${NONE:-x}",
    "${",
    "$",
    "$$",
    "${BYTES}",
    "ä",
    "\u{feff}",
    "\u{1}",
    "\u{202e}",
    "unix:/run/s",
    "socket-activation",
    "0.0.0.0:80",
    "[::]:80",
    "*:*",
    "RTMIN+30",
    "\"a b 'c'\"",
    "a.b.c = 1\n",
];

/// The test plans: the good ones, and the others.
fn plans() -> (Vec<String>, Vec<String>) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    paths.sort();
    let mut plans: Vec<String> = paths.iter().map(|path| fs::read_to_string(path).unwrap()).collect();
    // One 16 KiB string would only slow the mutations down.
    plans.retain(|plan| plan.len() < 4096);
    plans.push(String::from(example()));
    plans.into_iter().partition(|plan| load(plan, Path::new("/p.toml"), &environment::lookup).is_ok())
}

fn mutate(random: &mut Random, plan: &str, other: &str, times: usize) -> String {
    let mut text = String::from(plan);
    for _ in 0..times {
        let (one, two) = (random.place(&text), random.place(&text));
        let (start, end) = (one.min(two), one.max(two));
        match random.below(6) {
            0 => text.insert_str(start, random.one(PIECES)),
            1 => text.replace_range(
                start
                    ..end.min(start + text.get(start..end).unwrap().chars().take(3).map(char::len_utf8).sum::<usize>()),
                "",
            ),
            2 => text.replace_range(start..end, random.one(PIECES)),
            3 => {
                let piece = String::from(text.get(start..end).unwrap());
                let at = random.place(&text);
                text.insert_str(at, &piece);
            }
            4 => {
                let lines: Vec<&str> = other.split('\n').collect();
                let line = random.one(&lines);
                text.insert_str(start, line);
            }
            _ => text.truncate(end),
        }
    }
    text
}

fn check(text: &str) -> bool {
    match load(text, Path::new("/p.toml"), &environment::lookup) {
        Ok(first) => {
            let printed = first.print();
            let second = load(&printed, Path::new("/p.toml"), &|_| None);
            assert_eq!(Some(first.launch), second.ok().map(|second| second.launch), "{text:?}\n{printed}");
            true
        }
        Err(diagnostics) => {
            assert!(!diagnostics.is_empty(), "{text:?}");
            let lines: Vec<&str> = text.split('\n').collect();
            for (diagnostic, next) in diagnostics.iter().zip(diagnostics.iter().skip(1)) {
                assert!((diagnostic.line, diagnostic.column) <= (next.line, next.column), "{text:?}");
            }
            for diagnostic in &diagnostics {
                let line = lines.get(diagnostic.line - 1).unwrap();
                assert!(
                    diagnostic.column >= 1 && diagnostic.column <= line.chars().count() + 1,
                    "{diagnostic} in {text:?}"
                );
                assert!(!diagnostic.to_string().contains(char::is_control), "{diagnostic:?}");
            }
            false
        }
    }
}

#[test]
fn random_changes_to_plans_are_survived() {
    let (good, bad) = plans();
    let good: Vec<&str> = good.iter().map(String::as_str).collect();
    let all: Vec<&str> = good.iter().copied().chain(bad.iter().map(String::as_str)).collect();
    let (mut loaded, mut refused) = (0, 0);
    for seed in 1..=10_000 {
        let mut random = Random(seed);
        // Many changes to any plan hardly ever leave a good one; one change to a good one often does.
        let (plan, times) =
            if seed % 2 == 0 { (random.one(&good), 1) } else { (random.one(&all), 1 + random.below(4)) };
        let other = random.one(&all);
        if check(&mutate(&mut random, plan, other, times)) { loaded += 1 } else { refused += 1 }
    }
    assert!(loaded > 500 && refused > 5_000, "{loaded} plans loaded, {refused} did not: the changes do not test both");
}

#[test]
fn random_pieces_are_survived() {
    for seed in 1..=5_000 {
        let mut random = Random(seed);
        let text: String = (0..random.below(40)).map(|_| random.one(PIECES)).collect();
        check(&text);
    }
}

#[test]
fn every_prefix_of_a_plan_is_survived() {
    for plan in plans().0 {
        for (end, _) in plan.char_indices() {
            check(plan.get(..end).unwrap());
        }
    }
}

#[test]
fn deep_nesting_is_refused_and_not_followed() {
    let depth = 100_000;
    for text in [
        format!("a = {}", "[".repeat(depth)),
        format!("a = {}{}", "[".repeat(depth), "]".repeat(depth)),
        format!("a = {}", "{ b = ".repeat(depth)),
        format!("[{}a]", "a.".repeat(depth)),
        format!("{}a = 1", "a.".repeat(depth)),
        format!("[service.a.probe.p]\nwith.{}a = 1", "a.".repeat(depth)),
        format!("[service.a]\ncommand = \"{}\"", "${A:-".repeat(depth)),
    ] {
        assert!(!check(&text));
    }
}

#[test]
fn many_mistakes_on_one_line_take_one_walk() {
    let text = format!("[service.a]\ncommand = [\"/a\", {}]", "1, ".repeat(100_000));
    let diagnostics = load(&text, Path::new("/p.toml"), &environment::lookup).unwrap_err();
    assert_eq!(diagnostics.len(), 100_000);
    assert_eq!(diagnostics.last().map(|last| (last.line, last.column)), Some((2, 18 + 3 * 99_999)));
}

#[test]
fn there_are_as_many_tables_as_indices() {
    let text = |services: usize, plugins: usize| -> String {
        let services = (0..services).map(|index| format!("[service.s{index}]\ncommand=[\"/a\"]\n"));
        services.chain((0..plugins).map(|index| format!("[plugin.p{index}]\n"))).collect()
    };
    let found = |text: &str| -> Vec<String> {
        let outcome = load(text, Path::new("/p.toml"), &environment::lookup);
        outcome.err().unwrap_or_default().iter().map(ToString::to_string).collect()
    };
    assert!(found(&text(1, 65_535)).is_empty());
    let plugins = "/p.toml:65538:9: plugin: 65536 plugins are more than 65535; split the plan over several containers";
    assert_eq!(found(&text(1, 65_536)), [plugins]);
    let services =
        "/p.toml:131071:10: service: 65536 services are more than 65535; split the plan over several containers";
    assert_eq!(found(&text(65_536, 0)), [services]);
}

#[test]
fn a_plan_beyond_the_limit_is_not_read() {
    let text = format!("[service.a]\ncommand = [\"/a\"]\n#{}", "x".repeat(MAX_PLAN));
    let diagnostics = load(&text, Path::new("/p.toml"), &environment::lookup).unwrap_err();
    assert_eq!(diagnostics.len(), 1);
    assert!(load(text.get(..MAX_PLAN).unwrap(), Path::new("/p.toml"), &environment::lookup).is_ok());
}
