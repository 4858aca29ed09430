//! `hilumc check`: everything there is to know of a component before it is put into a plan, and whether hilum would take it.

use std::fmt::Write;
use std::path::Path;

use hilum_sandbox::compile;
use hilum_sandbox::engine::Target;
use hilum_sandbox::host::Host;
use hilum_sandbox::load::{Order, Plugin, digest};
use hilum_sandbox::plugin::Description;
use hilum_sandbox::{call, run};

use crate::call::Terminal;
use crate::component;
use crate::failure::Failure;

/// Memory a plugin may use to say what it is. **Units:** bytes. What most need for everything; a scripting engine needs more.
const MEMORY: u64 = 64 * 1024 * 1024;

/// The report on the component in `file`.
pub(crate) fn check(file: &Path) -> Result<String, Failure> {
    let bytes = component::read(file)?;
    let wrong = |story: String| Failure::new(format!("{}: {story}", file.display()));
    let compiled = component::compile(file, &bytes, Target::native())?;
    let host = Host::new().map_err(|error| Failure::of(&error))?;
    let order = Order { name: file.display().to_string(), memory: MEMORY, ..Order::default() };
    let plugin = compile::plugin(&host, order, &compiled, Terminal::without_commands())
        .map_err(|error| Failure::new(error.to_string()))?;
    let described = run(call::describe(&plugin)).map_err(|error| wrong(error.to_string()))?;
    let description = described.map_err(|broken| wrong(format!("it failed when asked what it is: {broken}")))?;
    Ok(report(file, &bytes, compiled.bytes().len(), &plugin, &description))
}

fn report(file: &Path, bytes: &[u8], compiled: usize, plugin: &Plugin, is: &Description) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = writeln!(text, "name       {}\nversion    {}", is.name.escape_debug(), is.version.escape_debug());
    let _ = writeln!(text, "kinds      {}", plugin.kinds().join(", "));
    let _ = writeln!(text, "component  {} bytes, sha256 {}", bytes.len(), digest(bytes));
    let _ = writeln!(text, "compiled   {compiled} bytes for {}", Target::native());
    for import in plugin.imports() {
        let _ = writeln!(text, "imports    {import}");
    }
    for export in plugin.exports() {
        let _ = writeln!(text, "exports    {export}");
    }
    let schema =
        is.settings_schema.split_whitespace().collect::<Vec<_>>().join(" ").replace(char::is_control, "\u{fffd}");
    let _ = writeln!(text, "settings   {schema}");
    let stem = file.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let name = if is_bare_key(&is.name) { is.name.clone() } else { stem.clone() };
    let _ = writeln!(text, "\n# for the plan:\n[plugin.{}]\npath = {}", key(&name), quote(&format!("{stem}.cwasm")));
    text.push_str(&allow(is));
    text.push_str(&wasi(&plugin.imports()));
    text
}

/// The grants a plugin wants, as TOML to paste: kinds in order of first mention, each with what is fixed, and what is not in a
/// comment.
fn allow(is: &Description) -> String {
    let mut kinds: Vec<&str> = Vec::new();
    for grant in &is.grants {
        if !kinds.contains(&grant.kind.as_str()) {
            kinds.push(&grant.kind);
        }
    }
    let mut comments = String::new();
    let mut entries = Vec::new();
    for kind in kinds {
        let mut values = Vec::new();
        for grant in is.grants.iter().filter(|grant| grant.kind == kind) {
            values.extend(grant.value.as_deref().map(quote));
            let wanted = grant.value.as_ref().map_or("to be filled in", |value| value);
            let _ = writeln!(
                comments,
                "# {}: {}: {}",
                kind.escape_debug(),
                wanted.escape_debug(),
                grant.reason.escape_debug()
            );
        }
        // The one grant that is no list.
        let value = if kind == "processes" { "true".to_owned() } else { format!("[{}]", values.join(", ")) };
        entries.push(format!("{} = {value}", key(kind)));
    }
    if entries.is_empty() { String::new() } else { format!("{comments}allow = {{ {} }}\n", entries.join(", ")) }
}

/// What the imports of WASI would want of the plan if they were used, as comments: an ordinary toolchain imports more than a guest calls.
fn wasi(imports: &[String]) -> String {
    let wants = [
        ("wasi:sockets/tcp@", "connect = [\"HOST:PORT\"]"),
        ("wasi:sockets/udp@", "connect = [\"udp:HOST:PORT\"]"),
        ("wasi:sockets/ip-name-lookup@", "resolve = [\"NAME\"] (names in connect need none)"),
        ("wasi:http/outgoing-handler@", "connect = [\"HOST:PORT\"]"),
        ("wasi:filesystem/preopens@", "files = [\"/DIRECTORY:ro\"]"),
        ("wasi:cli/environment@", "env = [\"NAME\"]"),
    ];
    let used = wants.into_iter().filter(|(interface, _)| imports.iter().any(|import| import.starts_with(interface)));
    let lines: Vec<String> =
        used.map(|(interface, grant)| format!("# {} may need {grant}\n", interface.trim_end_matches('@'))).collect();
    if lines.is_empty() { String::new() } else { format!("# it imports WASI; grant what it uses:\n{}", lines.concat()) }
}

fn is_bare_key(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

fn key(text: &str) -> String {
    if is_bare_key(text) { text.to_owned() } else { quote(text) }
}

/// A TOML basic string.
fn quote(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            _ if character.is_control() => {
                let _ = write!(quoted, "\\u{:04X}", u32::from(character));
            }
            _ => quoted.push(character),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::{Description, allow, quote};
    use hilum_sandbox::plugin::Grant;

    #[test]
    fn grants_become_toml_even_from_a_hostile_plugin() {
        let grant = |kind: &str, value: Option<&str>, reason: &str| Grant {
            kind: kind.to_owned(),
            value: value.map(str::to_owned),
            reason: reason.to_owned(),
        };
        let grants = vec![
            grant("connect", Some("db:5432"), "the database"),
            grant("connect", None, "host of `url`"),
            grant("e\"vil\n", Some("x\"]\n[service.x]"), "a\nb"),
        ];
        let is = Description { name: String::new(), version: String::new(), settings_schema: String::new(), grants };
        let expected = "# connect: db:5432: the database\n# connect: to be filled in: host of `url`\n\
                        # e\\\"vil\\n: x\\\"]\\n[service.x]: a\\nb\n\
                        allow = { connect = [\"db:5432\"], \"e\\\"vil\\u000A\" = [\"x\\\"]\\u000A[service.x]\"] }\n";
        assert_eq!(allow(&is), expected);
        assert_eq!(quote("a\\b"), "\"a\\\\b\"");
    }
}
