//! PostgreSQL's protocol 3.0: logging in, one simple query, and what comes back. It changes nothing on the server but what the query does.
//!
//! **Source:** PostgreSQL's manual, chapter "Frontend/Backend Protocol".

use hilum_plugin::{Host, Outcome};
use md5::{Digest, Md5};

use crate::rows::Rows;
use crate::scram::{MAX_ITERATIONS, Proof, Scram, ScramError, encode_base64};
use crate::settings::Target;
use crate::wire::{Cursor, Line, MAX_PACKET, Phase, said, shown};

/// Protocol 3.0, in the only message that has no type.
const VERSION: u32 = 3 << 16;

/// Random bytes of our nonce for SCRAM, as other clients send.
const NONCE: u32 = 18;

/// Asks for TLS, in a message without a type too.
const TLS_REQUEST: u32 = 80_877_103;

/// Logs in, asks, and says good-bye.
pub(crate) fn ask(mut line: Line, target: &Target, host: &impl Host) -> Result<Outcome, Outcome> {
    if let Some(tls) = &target.tls {
        line.write(&counted(&[&TLS_REQUEST.to_be_bytes()]))?;
        match line.take(1)?.as_slice() {
            b"S" => line = line.protect(tls, &target.place.host, host)?,
            b"N" => return Err(line.without_tls("set ssl = on there")),
            other => return Err(line.garbage("when asked for TLS it sent", other)),
        }
    }
    line.phase = Phase::Login;
    line.write(&startup(target))?;
    log_in(&mut line, target, || encode_base64(&host.random(NONCE)))?;
    line.phase = Phase::Query;
    let outcome = query(&mut line, target);
    line.farewell(&message(b'X', &[]));
    outcome
}

/// A message: type, length of itself and the rest, the rest.
fn message(kind: u8, parts: &[&[u8]]) -> Vec<u8> {
    let mut bytes = vec![kind];
    bytes.extend_from_slice(&counted(parts));
    bytes
}

fn counted(parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    let length = u32::try_from(body.len().saturating_add(4)).unwrap_or(u32::MAX);
    [&length.to_be_bytes(), body.as_slice()].concat()
}

fn startup(target: &Target) -> Vec<u8> {
    let mut body = VERSION.to_be_bytes().to_vec();
    let mut parameter = |name: &str, value: &str| {
        for text in [name, value] {
            body.extend_from_slice(text.as_bytes());
            body.push(0);
        }
    };
    parameter("user", &target.username);
    if let Some(database) = &target.database {
        parameter("database", database);
    }
    parameter("client_encoding", "UTF8");
    parameter("application_name", "probe-sql");
    counted(&[&body, b"\0"])
}

/// The next message: its type and its body.
fn receive(line: &mut Line) -> Result<(u8, Vec<u8>), Outcome> {
    // All that servers send. Another protocol shows by its first byte, or else by its length, before it is waited for.
    const KINDS: &[u8] = b"123ACDEGHIKNRSTVWZcnstv";
    let kind = line.peek(1)?.first().copied().unwrap_or_default();
    let foreign = |line: &Line| line.garbage("it sent", line.waiting());
    if !KINDS.contains(&kind) {
        return Err(foreign(line));
    }
    let length = match line.peek(5)? {
        [_, length @ ..] => length.first_chunk().map_or(0, |length| u32::from_be_bytes(*length)),
        [] => 0,
    };
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    let Some(body) = length.checked_sub(4) else { return Err(foreign(line)) };
    if length > MAX_PACKET {
        return Err(if line.phase == Phase::Query && b"DT".contains(&kind) { line.too_large() } else { foreign(line) });
    }
    line.take(5)?;
    Ok((kind, line.take(body)?))
}

/// What the server's login asks for next.
enum Login<'a> {
    /// It did not say yet.
    Open,
    /// A password or its hash is on the way.
    Sent,
    Greeted(Scram<'a>),
    Proved(Proof),
    /// It knows us, and has shown what it owes.
    Done,
}

fn log_in(line: &mut Line, target: &Target, nonce: impl Fn() -> String) -> Result<(), Outcome> {
    let mut login = Login::Open;
    loop {
        let (kind, body) = receive(line)?;
        login = match (kind, login) {
            (b'R', login) => authenticate(line, target, login, &body, &nonce)?,
            (b'E', _) => {
                let (server, user) = (line.server(), shown(target.username.as_bytes()));
                return Err(Outcome::Fail(format!("{server} refused the login of {user}: {}", error(&body))));
            }
            (b'N', login) => login,
            (b'S' | b'K', Login::Done) => Login::Done,
            (b'Z', Login::Done) => return Ok(()),
            (other, _) => return Err(line.garbage(&format!("message '{}' within the login", char::from(other)), &body)),
        };
    }
}

/// One request of the server's for a proof of who we are.
fn authenticate<'a>(
    line: &mut Line,
    target: &'a Target,
    login: Login<'a>,
    body: &[u8],
    nonce: &impl Fn() -> String,
) -> Result<Login<'a>, Outcome> {
    let mut cursor = Cursor::new(body);
    let wrong = |line: &Line, story: &str| Err(line.garbage(story, body));
    let Some(method) = cursor.array().map(u32::from_be_bytes) else { return wrong(line, "a short login message") };
    match (method, login) {
        (0, Login::Open | Login::Sent) => Ok(Login::Done),
        (0, _) => wrong(line, "it let us in without the proof it owes"),
        (3, Login::Open) => {
            let password = password(line, target)?;
            line.write(&message(b'p', &[password, b"\0"]))?;
            Ok(Login::Sent)
        }
        (5, Login::Open) => {
            let Some(salt) = cursor.array::<4>() else { return wrong(line, "an MD5 request without a salt") };
            let password = password(line, target)?;
            let inner = hex(&Md5::new().chain_update(password).chain_update(&target.username).finalize());
            let outer = hex(&Md5::new().chain_update(inner).chain_update(salt).finalize());
            line.write(&message(b'p', &[b"md5", outer.as_bytes(), b"\0"]))?;
            Ok(Login::Sent)
        }
        (10, Login::Open) => {
            const MECHANISM: &[u8] = b"SCRAM-SHA-256";
            let mut offers = cursor.rest().split(|byte| *byte == 0);
            if !offers.any(|offer| offer == MECHANISM) {
                return Err(unspoken(line, target, &format!("the SASL methods {}", shown(cursor.rest()))));
            }
            let scram = Scram::new("", password(line, target)?, nonce());
            let first = scram.first();
            let length = u32::try_from(first.len()).unwrap_or_default();
            line.write(&message(b'p', &[MECHANISM, b"\0", &length.to_be_bytes(), first.as_bytes()]))?;
            Ok(Login::Greeted(scram))
        }
        (11, Login::Greeted(scram)) => {
            let proof = scram.prove(cursor.rest()).map_err(|error| match error {
                ScramError::Malformed(story) => line.garbage(&format!("in its SCRAM message {story}"), cursor.rest()),
                ScramError::Iterations(count) => Outcome::Unknown(format!(
                    "{} wants the password of {} hashed {count} times, this probe has time for {MAX_ITERATIONS}; give the probe a user \
                     whose password was set with a lower scram_iterations",
                    line.server(),
                    shown(target.username.as_bytes())
                )),
            })?;
            line.write(&message(b'p', &[proof.message.as_bytes()]))?;
            Ok(Login::Proved(proof))
        }
        (12, Login::Proved(proof)) => {
            if proof.is_answered_by(cursor.rest()) {
                Ok(Login::Sent)
            } else {
                Err(Outcome::Fail(format!(
                    "{} let us in but does not know the password of {} itself: it is not the server it should be",
                    line.server(),
                    shown(target.username.as_bytes())
                )))
            }
        }
        (2 | 7, Login::Open) => Err(unspoken(line, target, "Kerberos or GSSAPI")),
        (9, Login::Open) => Err(unspoken(line, target, "SSPI")),
        (1 | 4 | 6, Login::Open) => Err(unspoken(line, target, &format!("login method {method}"))),
        _ => wrong(line, "a login message that does not belong here"),
    }
}

fn unspoken(line: &Line, target: &Target, method: &str) -> Outcome {
    Outcome::Unknown(format!(
        "{} wants {method} from {}, which this probe does not speak; let pg_hba.conf ask it for scram-sha-256, md5 or password",
        line.server(),
        shown(target.username.as_bytes())
    ))
}

fn password<'a>(line: &Line, target: &'a Target) -> Result<&'a [u8], Outcome> {
    if target.password.is_empty() {
        return Err(Outcome::Unknown(format!(
            "{} wants a password of {}, and the settings have none; write password = \"…\"",
            line.server(),
            shown(target.username.as_bytes())
        )));
    }
    Ok(target.password.as_bytes())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn query(line: &mut Line, target: &Target) -> Result<Outcome, Outcome> {
    line.write(&message(b'Q', &[target.query.as_bytes(), b"\0"]))?;
    let query = shown(target.query.as_bytes());
    let server = line.server().to_owned();
    let unknown = |story: &str| Err(Outcome::Unknown(format!("{server}: {query} {story}")));
    let mut rows = Rows::new(target);
    // Columns of the result, once it has begun.
    let mut columns = None;
    let mut complete = false;
    loop {
        let (kind, body) = receive(line)?;
        match kind {
            // One result is what was asked for: the rows of several statements would be mixed up.
            b'T' | b'C' | b'I' if complete => {
                return unknown("is more than one statement; use one probe for each");
            }
            b'T' if columns.is_none() => match Cursor::new(&body).array().map(u16::from_be_bytes) {
                Some(count) => columns = Some(count),
                None => return Err(line.garbage("a short row description", &body)),
            },
            b'D' if !complete && columns.is_some() => {
                if take_row(&body, columns, &mut rows).is_none() {
                    return Err(line.garbage("a malformed row", &body));
                }
                rows.end_row()?;
            }
            b'C' => complete = true,
            b'E' => return Err(Outcome::Fail(format!("{server}: {query} failed: {}", error(&body)))),
            b'I' => return unknown("asks nothing; write a statement such as SELECT 1"),
            b'G' | b'H' | b'W' => return unknown("copies data; write a statement that returns rows, such as SELECT 1"),
            b'N' | b'S' | b'A' => {}
            b'Z' if complete => return Ok(rows.verdict()),
            other => {
                return Err(line.garbage(&format!("message '{}' within a result", char::from(other)), &body));
            }
        }
    }
}

/// Takes the values of a row; `None` if it is not one.
fn take_row(body: &[u8], columns: Option<u16>, rows: &mut Rows<'_>) -> Option<()> {
    let mut cursor = Cursor::new(body);
    let count = cursor.array().map(u16::from_be_bytes).filter(|count| Some(*count) == columns)?;
    for _ in 0..count {
        match i32::from_be_bytes(cursor.array()?) {
            -1 => rows.value(None),
            length => rows.value(Some(cursor.take(usize::try_from(length).ok()?)?)),
        }
    }
    cursor.is_empty().then_some(())
}

/// An error as the server tells it: severity, code, text and, if it has one, its own way out.
fn error(body: &[u8]) -> String {
    let mut cursor = Cursor::new(body);
    let [mut severity, mut code, mut text, mut hint]: [&[u8]; 4] = [b"ERROR", b"without a code", b"no text", b""];
    while let Some(field) = cursor.byte().filter(|field| *field != 0) {
        let Some(value) = cursor.until_nul() else { break };
        match field {
            b'S' => severity = value,
            b'C' => code = value,
            b'M' => text = value,
            b'H' => hint = value,
            _ => {}
        }
    }
    let hint = if hint.is_empty() { String::new() } else { format!(" ({})", said(hint)) };
    format!("{} {}: {}{hint}", said(severity), said(code), said(text))
}
