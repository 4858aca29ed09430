//! The reference page of the plan, written from the same table of keys that checks it.

use std::fmt::Write as _;

use crate::raw::{Absent, PLAN, Schema, Shape};

/// What no single key says.
const PREFACE: &str = "\
# The plan

One TOML file says what hilum runs: `hilum up -c FILE`. `hilum check -c FILE` tells all that is wrong with it, each with its line and column;
`--print` shows every value that holds and where it came from.

- **Unknown keys** are errors, and so is any value that is out of range: nothing is corrected silently.
- **Durations** are strings with a unit: `\"10s\"`, `\"500ms\"`, `\"1m30s\"`, `\"1.5h\"`. Units: `ns`, `us`, `ms`, `s`, `m`, `h`, `d`. At most ten years.
- **Sizes** are strings with a unit: `\"4MiB\"`, `\"512KiB\"` in 1,024s, `\"4MB\"`, `\"512kB\"` in 1,000s, `\"100B\"`.
- **Signals** are names with or without `SIG`, or numbers: `\"TERM\"`, `\"SIGUSR1\"`, `15`, `\"RTMIN+3\"` (`RTMIN` is 34, as in shells).
- **Variables**: in every string `${NAME}` is the variable of hilum's own environment, `${NAME:-default}` the default where it is unset or empty,
  `$$` a dollar sign. An unset variable without a default is an error. A command given as one string is split into words first, and variables
  are put in afterwards, whatever the quotes: a value with spaces stays one word.
- **Names** of services, probes and plugins: letters, digits, `-`, `_` and `.`, a letter or digit first, at most 64.
- **Standard input** is hilum's own for the only service of a plan; of several, none has any to read.
- At most 65,535 services, plugins, and probes of one service; at most 4 MiB of plan.
";

/// The reference page, in Markdown.
#[must_use]
pub fn reference() -> String {
    let mut page = String::from(PREFACE);
    section(&mut page, "", &PLAN);
    page
}

fn section(page: &mut String, path: &str, schema: &'static Schema) {
    let title = if path.is_empty() { String::from("Top level") } else { format!("`[{path}]`") };
    // Writing to a string cannot fail.
    let _ = write!(page, "\n## {title}\n\n| key | type | default | meaning |\n| --- | --- | --- | --- |\n");
    for key in schema.keys {
        let absent = match key.absent {
            Absent::Required => String::from("required"),
            Absent::Default(text) => format!("`{text}`"),
            Absent::Otherwise(meaning) => String::from(meaning),
        };
        let _ = writeln!(page, "| `{}` | {} | {absent} | {} |", key.name, key.shape.describe(), key.meaning);
    }
    if !schema.later.is_empty() {
        let names: Vec<String> = schema.later.iter().map(|name| format!("`{name}`")).collect();
        let _ = writeln!(page, "\nNot in this version, and refused: {}.", names.join(", "));
    }
    for key in schema.keys {
        let below = if path.is_empty() { String::from(key.name) } else { format!("{path}.{}", key.name) };
        match key.shape {
            // The same keys as those of a service, described there.
            Shape::Table(_) if key.name == "defaults" => {}
            Shape::Table(inner) | Shape::Either(inner, _) => section(page, &below, inner),
            Shape::Named(inner) => section(page, &format!("{below}.NAME"), inner),
            _ => {}
        }
    }
}
