//! DNS messages: a question with one name, and what of an answer counts. It reads what strangers send: every length is checked, a name cannot
//! lead in circles, and no more is kept than a probe looks at.
//!
//! **Source:** RFC 1035, section 4; RFC 6891 for the size of datagrams.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

/// Bytes of an answer by UDP that is asked for. What passes every link without fragments, as DNS servers agreed in 2020.
pub(crate) const MAX_DATAGRAM: u16 = 1232;

/// Bytes of a name as it is sent. **Source:** RFC 1035, section 3.1.
const MAX_NAME: usize = 255;

/// Records of one answer that are looked at. A service with more has them for load, and a few are enough to tell that it is there.
const MAX_RECORDS: usize = 512;

/// Aliases that are followed. Resolvers give up at about as many.
const MAX_ALIASES: usize = 16;

/// Bytes before the question.
const HEADER: usize = 12;

/// The class of the internet.
const IN: u16 = 1;

/// The type of the record that carries extensions.
const OPT: u16 = 41;

/// A type of record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Type {
    A,
    Aaaa,
    Cname,
    Mx,
    Ns,
    Ptr,
    Srv,
    Txt,
}

impl Type {
    /// All of them, with their words and numbers.
    pub(crate) const ALL: &[(Type, &str, u16)] = &[
        (Type::A, "A", 1),
        (Type::Aaaa, "AAAA", 28),
        (Type::Cname, "CNAME", 5),
        (Type::Mx, "MX", 15),
        (Type::Ns, "NS", 2),
        (Type::Ptr, "PTR", 12),
        (Type::Srv, "SRV", 33),
        (Type::Txt, "TXT", 16),
    ];

    fn number(self) -> u16 {
        Type::ALL.iter().find(|(known, _, _)| *known == self).map_or(0, |(_, _, number)| *number)
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = Type::ALL.iter().find(|(known, _, _)| known == self).map_or("", |(_, word, _)| *word);
        f.write_str(word)
    }
}

/// A name: its labels in lower case, without the empty one at the end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Name(Vec<Vec<u8>>);

impl Name {
    /// Reads a name as people write it.
    ///
    /// **Errors:** why it cannot be one.
    pub(crate) fn parse(text: &str) -> Result<Name, &'static str> {
        let whole = text.strip_suffix('.').unwrap_or(text);
        if whole.is_empty() {
            return if text == "." { Ok(Name(Vec::new())) } else { Err("is empty") };
        }
        if !whole.is_ascii() {
            return Err("has characters outside ASCII; write its xn-- form");
        }
        if whole.bytes().any(|byte| !byte.is_ascii_graphic()) {
            return Err("has spaces or control characters");
        }
        let labels: Vec<Vec<u8>> = whole.split('.').map(|label| label.to_ascii_lowercase().into_bytes()).collect();
        if labels.iter().any(Vec::is_empty) {
            return Err("has two dots in a row or one at its beginning");
        }
        if labels.iter().any(|label| label.len() > 63) {
            return Err("has a part of more than 63 characters");
        }
        if whole.len() + 2 > MAX_NAME {
            return Err("has more than 253 characters");
        }
        Ok(Name(labels))
    }

    /// The name under which the name of an address is found.
    pub(crate) fn reverse(address: std::net::IpAddr) -> Name {
        let (parts, tail): (Vec<String>, _) = match address {
            std::net::IpAddr::V4(address) => (address.octets().iter().map(u8::to_string).collect(), "in-addr"),
            std::net::IpAddr::V6(address) => {
                let digits = address.octets().iter().flat_map(|byte| [byte >> 4, byte & 0xf]).collect::<Vec<u8>>();
                (digits.iter().map(|digit| format!("{digit:x}")).collect(), "ip6")
            }
        };
        let tail = [tail, "arpa"].into_iter().map(str::to_owned);
        Name(parts.into_iter().rev().chain(tail).map(String::into_bytes).collect())
    }

    fn write(&self, out: &mut Vec<u8>) {
        for label in &self.0 {
            // No label is longer than 63.
            out.push(u8::try_from(label.len()).unwrap_or_default());
            out.extend_from_slice(label);
        }
        out.push(0);
    }
}

impl fmt::Display for Name {
    /// A dot within a label, and what is not printable, is escaped.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str(".");
        }
        for (index, label) in self.0.iter().enumerate() {
            let text = label.escape_ascii().to_string().replace('.', "\\.");
            write!(f, "{}{text}", if index == 0 { "" } else { "." })?;
        }
        Ok(())
    }
}

/// What is asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Question {
    pub(crate) name: Name,
    pub(crate) kind: Type,
}

impl Question {
    /// The message that asks. `extended` says how long a datagram may be.
    pub(crate) fn message(&self, id: u16, extended: bool) -> Vec<u8> {
        let mut out = Vec::new();
        // A question, recursion wanted.
        for field in [id, 0x0100, 1, 0, 0, u16::from(extended)] {
            out.extend_from_slice(&field.to_be_bytes());
        }
        self.name.write(&mut out);
        out.extend_from_slice(&self.kind.number().to_be_bytes());
        out.extend_from_slice(&IN.to_be_bytes());
        if extended {
            // The root's name, and no options.
            out.push(0);
            for field in [OPT, MAX_DATAGRAM, 0, 0, 0] {
                out.extend_from_slice(&field.to_be_bytes());
            }
        }
        out
    }
}

/// What a message is to the question.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Reply {
    /// To another question, or none at all: anybody could have sent it.
    Stray,
    /// Too long for how it was sent.
    Truncated,
    /// No, by this code.
    Refusal(u16),
    /// These records. Each as people write it.
    Records(Vec<String>),
}

/// Not a DNS message: what is wrong with it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Malformed(String);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn malformed(story: impl Into<String>) -> Malformed {
    Malformed(story.into())
}

/// A message, and how far it is read.
#[derive(Clone, Copy)]
struct Reader<'a> {
    message: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let end = self.at.saturating_add(count);
        let bytes = self.message.get(self.at..end);
        let bytes =
            bytes.ok_or_else(|| malformed(format!("it ends within a record, after {} bytes", self.message.len())))?;
        self.at = end;
        Ok(bytes)
    }

    fn byte(&mut self) -> Result<u8, Malformed> {
        Ok(self.take(1)?.first().copied().unwrap_or_default())
    }

    fn number(&mut self) -> Result<u16, Malformed> {
        let bytes = self.take(2)?.try_into().unwrap_or_default();
        Ok(u16::from_be_bytes(bytes))
    }

    /// Reads a name, and follows its pointers: each leads to before the part it ends, so there are no circles.
    fn name(&mut self) -> Result<Name, Malformed> {
        let mut labels = Vec::new();
        let mut size = 1;
        let mut reader = *self;
        // Where the part began that is being read.
        let mut start = self.at;
        let mut jumped = false;
        loop {
            let length = reader.byte()?;
            match length {
                0 => break,
                1..=63 => {
                    let label = reader.take(length.into())?;
                    size += label.len() + 1;
                    if size > MAX_NAME {
                        return Err(malformed("a name has more than 255 bytes"));
                    }
                    labels.push(label.to_ascii_lowercase());
                }
                0xc0.. => {
                    let target = (usize::from(length & 0x3f) << 8) | usize::from(reader.byte()?);
                    if !jumped {
                        self.at = reader.at;
                    }
                    jumped = true;
                    if target >= start {
                        return Err(malformed("a name points forward"));
                    }
                    start = target;
                    reader.at = target;
                }
                _ => return Err(malformed("a name has a part of an unknown kind")),
            }
        }
        if !jumped {
            self.at = reader.at;
        }
        Ok(Name(labels))
    }

    fn skip_name(&mut self) -> Result<(), Malformed> {
        loop {
            match self.byte()? {
                0 => return Ok(()),
                length @ 1..=63 => {
                    self.take(length.into())?;
                }
                0xc0.. => {
                    self.byte()?;
                    return Ok(());
                }
                _ => return Err(malformed("a name has a part of an unknown kind")),
            }
        }
    }
}

/// A record of an answer: where it stands.
#[derive(Clone, Copy)]
struct Record {
    owner: usize,
    kind: u16,
    data: usize,
    length: usize,
}

/// What `message` is to `question`, asked with `id`.
///
/// **Errors:** it is broken.
pub(crate) fn read(message: &[u8], id: u16, question: &Question) -> Result<Reply, Malformed> {
    let mut reader = Reader { message, at: 0 };
    let Ok(fields) = reader.take(HEADER) else { return Ok(Reply::Stray) };
    let field = |index: usize| {
        let bytes = fields.get(index * 2..).and_then(<[u8]>::first_chunk);
        bytes.map_or(0, |bytes| u16::from_be_bytes(*bytes))
    };
    let (its_id, flags, questions, answers) = (field(0), field(1), field(2), field(3));
    let code = flags & 0xf;
    let (is_answer, is_query, truncated) = (flags & 0x8000 != 0, flags & 0x7800 == 0, flags & 0x0200 != 0);
    if its_id != id || !is_answer || !is_query {
        return Ok(Reply::Stray);
    }
    match questions {
        // Some servers do not repeat what they refuse.
        0 if code != 0 => return Ok(Reply::Refusal(code)),
        1 => {}
        _ => return Ok(Reply::Stray),
    }
    let name = reader.name()?;
    let (kind, class) = (reader.number()?, reader.number()?);
    if name != question.name || kind != question.kind.number() || class != IN {
        return Ok(Reply::Stray);
    }
    if truncated {
        return Ok(Reply::Truncated);
    }
    if code != 0 {
        return Ok(Reply::Refusal(code));
    }
    if usize::from(answers) > MAX_RECORDS {
        return Err(malformed(format!("it has {answers} records; at most {MAX_RECORDS} are looked at")));
    }
    let mut records = Vec::new();
    for _ in 0..answers {
        let owner = reader.at;
        reader.skip_name()?;
        let (kind, class) = (reader.number()?, reader.number()?);
        // How long it may be kept.
        reader.take(4)?;
        let length = usize::from(reader.number()?);
        let data = reader.at;
        reader.take(length)?;
        if class == IN {
            records.push(Record { owner, kind, data, length });
        }
    }
    let owner = alias(message, &records, question)?;
    let mut found = Vec::new();
    for record in records.iter().filter(|record| record.kind == question.kind.number()) {
        if (Reader { message, at: record.owner }.name()?) == owner {
            found.push(value(message, *record, question.kind)?);
        }
    }
    Ok(Reply::Records(found))
}

/// The name whose records answer: the one asked for, or where its aliases lead.
fn alias(message: &[u8], records: &[Record], question: &Question) -> Result<Name, Malformed> {
    let mut owner = question.name.clone();
    if question.kind == Type::Cname {
        return Ok(owner);
    }
    let mut aliases = Vec::new();
    for record in records.iter().filter(|record| record.kind == Type::Cname.number()).take(MAX_ALIASES) {
        let from = Reader { message, at: record.owner }.name()?;
        let to = Reader { message, at: record.data }.name()?;
        aliases.push((from, to));
    }
    for _ in 0..aliases.len() {
        let Some((_, to)) = aliases.iter().find(|(from, _)| *from == owner) else { break };
        owner = to.clone();
    }
    Ok(owner)
}

/// A record's data as people write it.
fn value(message: &[u8], record: Record, kind: Type) -> Result<String, Malformed> {
    let end = record.data.saturating_add(record.length);
    let mut reader = Reader { message: message.get(..end).unwrap_or(message), at: record.data };
    let wrong = |_: Malformed| malformed(format!("a record of type {kind} is broken"));
    let text = match kind {
        Type::A => {
            let bytes: [u8; 4] = reader.take(4).map_err(wrong)?.try_into().unwrap_or_default();
            Ipv4Addr::from(bytes).to_string()
        }
        Type::Aaaa => {
            let bytes: [u8; 16] = reader.take(16).map_err(wrong)?.try_into().unwrap_or_default();
            Ipv6Addr::from(bytes).to_string()
        }
        Type::Cname | Type::Ns | Type::Ptr => reader.name().map_err(wrong)?.to_string(),
        Type::Mx => format!("{} {}", reader.number().map_err(wrong)?, reader.name().map_err(wrong)?),
        Type::Srv => {
            let (priority, weight) = (reader.number().map_err(wrong)?, reader.number().map_err(wrong)?);
            format!("{priority} {weight} {} {}", reader.number().map_err(wrong)?, reader.name().map_err(wrong)?)
        }
        Type::Txt => {
            let mut text = Vec::new();
            while reader.at < end {
                let length = reader.byte().map_err(wrong)?;
                text.extend_from_slice(reader.take(length.into()).map_err(wrong)?);
            }
            String::from_utf8(text).unwrap_or_else(|error| error.as_bytes().escape_ascii().to_string())
        }
    };
    if reader.at == end { Ok(text) } else { Err(malformed(format!("a record of type {kind} is broken"))) }
}
