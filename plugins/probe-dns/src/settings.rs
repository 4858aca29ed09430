//! What to ask of whom, and what must be among the answers, from the plan's `with` table.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hilum_plugin::{Place, Setting, Settings, SettingsError};

use crate::wire::{Name, Question, Type};

/// Where DNS servers listen.
pub(crate) const PORT: u16 = 53;

/// Records one can ask for at least. Doubled, answers would have to be looked at further than a datagram goes.
const MAX_RECORDS: i64 = 256;

/// One question and its expectation.
#[derive(Debug)]
pub struct Target {
    pub(crate) question: Question,
    /// The machine's first if none.
    pub(crate) server: Option<Place>,
    /// As answers show them.
    pub(crate) expected: Vec<String>,
    pub(crate) least: usize,
    pub(crate) by_tcp: bool,
}

impl Target {
    pub(crate) fn read(settings: &mut Settings) -> Result<Target, SettingsError> {
        let name = settings.required("name", "name = \"web.example\"")?;
        let kind = settings.optional("type").map_or(Ok(Type::A), |kind| read_type(&kind))?;
        let server = settings.optional("server").map(|server| read_server(&server)).transpose()?;
        let expected = match settings.optional("expect") {
            None => Vec::new(),
            Some(list) => list.items().iter().map(|text| read_record(text, kind)).collect::<Result<Vec<_>, _>>()?,
        };
        let least = settings.optional("min-records").map_or(Ok(1), |least| least.integer(1, MAX_RECORDS))?;
        let by_tcp = match settings.optional("transport") {
            None => false,
            Some(transport) => match transport.string()? {
                "udp" => false,
                "tcp" => true,
                other => {
                    return Err(transport.error(format_args!("{other:?} is no way to ask; write \"udp\" or \"tcp\"")));
                }
            },
        };
        let question = Question { name: read_name(&name, kind)?, kind };
        Ok(Target { question, server, expected, least: usize::try_from(least).unwrap_or(1), by_tcp })
    }
}

fn read_type(setting: &Setting) -> Result<Type, SettingsError> {
    let text = setting.string()?;
    let found = Type::ALL.iter().find(|(_, word, _)| word.eq_ignore_ascii_case(text));
    found.map(|(kind, _, _)| *kind).ok_or_else(|| {
        let words: Vec<&str> = Type::ALL.iter().map(|(_, word, _)| *word).collect();
        setting.error(format_args!("{text:?} cannot be asked for; write one of {}", words.join(", ")))
    })
}

fn read_name(setting: &Setting, kind: Type) -> Result<Name, SettingsError> {
    let text = setting.string()?;
    match text.parse::<IpAddr>() {
        Ok(address) if kind == Type::Ptr => return Ok(Name::reverse(address)),
        Ok(_) => return Err(setting.error(format_args!("{text:?} is an address; write a name, or type = \"PTR\""))),
        Err(_) => {}
    }
    Name::parse(text).map_err(|why| setting.error(format_args!("{text:?} {why}; write one such as \"web.example\"")))
}

/// `10.0.0.2:53`, `10.0.0.2`, `[2001:db8::1]:53`, `2001:db8::1`, `ns.example:53` or `ns.example`.
fn read_server(setting: &Setting) -> Result<Place, SettingsError> {
    let text = setting.string()?;
    let wrong = || setting.error(format_args!("{text:?} is no server; write \"10.0.0.2:53\" or \"[2001:db8::1]:53\""));
    if text.parse::<Ipv6Addr>().is_ok() {
        return Ok(Place { host: text.to_owned(), port: PORT });
    }
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']').ok_or_else(wrong)?;
            host.parse::<Ipv6Addr>().map_err(|_| wrong())?;
            (host, if rest.is_empty() { None } else { Some(rest.strip_prefix(':').ok_or_else(wrong)?) })
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:".contains(&byte);
    if host.is_empty() || !host.bytes().all(is_host) {
        return Err(wrong());
    }
    let port = match port {
        None => PORT,
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            digits.parse().ok().filter(|port| *port != 0).ok_or_else(wrong)?
        }
        Some(_) => return Err(wrong()),
    };
    Ok(Place { host: host.to_owned(), port })
}

/// A record as answers show it.
fn read_record(setting: &Setting, kind: Type) -> Result<String, SettingsError> {
    let text = setting.string()?;
    let wrong =
        |example: &str| setting.error(format_args!("{text:?} is no {kind} record; write one such as {example:?}"));
    let number = |word: &str| word.parse::<u16>().ok();
    let name = |word: &str| Name::parse(word).ok();
    let words: Vec<&str> = text.split_whitespace().collect();
    match (kind, words.as_slice()) {
        (Type::A, [word]) => {
            word.parse::<Ipv4Addr>().map(|address| address.to_string()).map_err(|_| wrong("192.0.2.1"))
        }
        (Type::A, _) => Err(wrong("192.0.2.1")),
        (Type::Aaaa, [word]) => word.parse::<Ipv6Addr>().map(|it| it.to_string()).map_err(|_| wrong("2001:db8::1")),
        (Type::Aaaa, _) => Err(wrong("2001:db8::1")),
        (Type::Cname | Type::Ns | Type::Ptr, [word]) => {
            name(word).map(|name| name.to_string()).ok_or_else(|| wrong("web.example"))
        }
        (Type::Cname | Type::Ns | Type::Ptr, _) => Err(wrong("web.example")),
        (Type::Mx, [priority, host]) => number(priority)
            .zip(name(host))
            .map(|(priority, host)| format!("{priority} {host}"))
            .ok_or_else(|| wrong("10 mail.example")),
        (Type::Mx, _) => Err(wrong("10 mail.example")),
        (Type::Srv, [priority, weight, port, host]) => number(priority)
            .zip(number(weight))
            .zip(number(port).zip(name(host)))
            .map(|((priority, weight), (port, host))| format!("{priority} {weight} {port} {host}"))
            .ok_or_else(|| wrong("0 5 5432 db.example")),
        (Type::Srv, _) => Err(wrong("0 5 5432 db.example")),
        (Type::Txt, _) => Ok(text.to_owned()),
    }
}
