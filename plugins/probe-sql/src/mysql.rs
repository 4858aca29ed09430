//! MySQL's protocol 10, as MySQL from 4.1, MariaDB and ProxySQL speak it: logging in, one text query, and what comes back. It sends the
//! password itself only over TLS, and it offers neither local files nor several statements in one.
//!
//! **Source:** MySQL's "Client/Server Protocol" and MariaDB's "Clients & Utilities: Protocol".

use hilum_plugin::{Host, Outcome};
use sha1::Sha1;
use sha2::{Digest, Sha256};

use crate::rows::Rows;
use crate::scram::mix;
use crate::settings::Target;
use crate::wire::{Cursor, Line, MAX_PACKET, Phase, said, shown};

const CONNECT_WITH_DB: u32 = 1 << 3;
const PROTOCOL_41: u32 = 1 << 9;
const SSL: u32 = 1 << 11;
const TRANSACTIONS: u32 = 1 << 13;
const SECURE_CONNECTION: u32 = 1 << 15;
const PLUGIN_AUTH: u32 = 1 << 19;

/// What the server needs to have. All do since 4.1.1.
const NEEDED: u32 = PROTOCOL_41 | SECURE_CONNECTION;

/// utf8mb4_general_ci, which servers that do not know it take for their default.
const CHARSET: u8 = 45;

const NATIVE: &[u8] = b"mysql_native_password";
const CACHING: &[u8] = b"caching_sha2_password";

/// Bytes of the server's random number. One NUL follows it.
const NONCE: usize = 20;

/// Packets of a login. The longest that makes sense has a switch or two.
const MAX_LOGIN: usize = 8;

/// The server's most columns.
const MAX_COLUMNS: u64 = 4096;

/// `SERVER_MORE_RESULTS_EXISTS` in a status.
const MORE_RESULTS: u16 = 8;

/// Ends the connection, so that the server does not count it as an aborted one.
const QUIT: [u8; 5] = [1, 0, 0, 0, 1];

/// Logs in, asks, and says good-bye.
pub(crate) fn ask(line: Line, target: &Target, host: &impl Host) -> Result<Outcome, Outcome> {
    let mut talk = Talk { line, sequence: 0 };
    let greeting = greet(&mut talk, target)?;
    talk.line.phase = Phase::Login;
    if let Some(tls) = &target.tls {
        if greeting.capabilities & SSL == 0 {
            abandon(&mut talk);
            return Err(talk.line.without_tls("set ssl_cert and ssl_key there"));
        }
        talk.send(&introduction(target, &greeting))?;
        talk.line = talk.line.protect(tls, &target.place.host, host)?;
    }
    log_in(&mut talk, target, &greeting)?;
    talk.line.phase = Phase::Query;
    let outcome = query(&mut talk, target);
    talk.line.farewell(&QUIT);
    outcome
}

/// Packets with their numbers.
struct Talk {
    line: Line,
    /// Of the next packet, from whomever.
    sequence: u8,
}

impl Talk {
    /// The next packet without its header.
    fn receive(&mut self) -> Result<Vec<u8>, Outcome> {
        let header = self.line.peek(4)?.first_chunk().copied().unwrap_or_default();
        let [low, middle, high, sequence] = header;
        let length = usize::try_from(u32::from_le_bytes([low, middle, high, 0])).unwrap_or(usize::MAX);
        if length > MAX_PACKET && self.line.phase == Phase::Query && sequence == self.sequence {
            return Err(self.line.too_large());
        }
        if length == 0 || length > MAX_PACKET {
            return Err(self.line.garbage("it sent", self.line.waiting()));
        }
        // Another protocol shows by the version before the rest is waited for.
        if self.line.phase == Phase::Greeting && !matches!(self.line.peek(5)?, [.., 9 | 10 | 0xff]) {
            return Err(self.line.garbage("it sent", self.line.waiting()));
        }
        self.line.take(4)?;
        let packet = self.line.take(length)?;
        // A server that gives up may number its last words as it likes.
        if sequence != self.sequence && packet.first() != Some(&0xff) {
            let story = format!("packet {sequence} instead of {}", self.sequence);
            return Err(self.line.garbage(&story, &packet));
        }
        self.sequence = self.sequence.wrapping_add(1);
        Ok(packet)
    }

    /// Sends a packet; what we send is always shorter than the most one can hold.
    fn send(&mut self, packet: &[u8]) -> Result<(), Outcome> {
        let [low, middle, high, _] = u32::try_from(packet.len()).unwrap_or_default().to_le_bytes();
        let header = [low, middle, high, self.sequence];
        self.sequence = self.sequence.wrapping_add(1);
        self.line.write(&[&header, packet].concat())
    }
}

/// What matters of a greeting.
struct Greeting {
    capabilities: u32,
    nonce: [u8; NONCE],
    /// The login method the server would like.
    method: Vec<u8>,
}

fn greet(talk: &mut Talk, target: &Target) -> Result<Greeting, Outcome> {
    let packet = talk.receive()?;
    let server = target.server();
    match packet.first() {
        Some(0xff) => return Err(Outcome::Fail(format!("{server} refused the connection: {}", error(&packet)))),
        Some(9) => return Err(old(&server)),
        _ => {}
    }
    let greeting =
        read_greeting(&packet).ok_or_else(|| talk.line.garbage("a greeting that ends too early", &packet))?;
    if greeting.capabilities & NEEDED == NEEDED { Ok(greeting) } else { Err(old(&server)) }
}

fn old(server: &str) -> Outcome {
    Outcome::Fail(format!(
        "{server} speaks the protocol of MySQL before 4.1, which this probe does not; update the server"
    ))
}

fn read_greeting(packet: &[u8]) -> Option<Greeting> {
    let mut cursor = Cursor::new(packet);
    cursor.byte()?;
    // Version of the server and number of the connection.
    cursor.until_nul()?;
    cursor.take(4)?;
    let first: [u8; 8] = cursor.array()?;
    cursor.byte()?;
    let low = u16::from_le_bytes(cursor.array()?);
    let mut greeting = Greeting { capabilities: u32::from(low), nonce: [0; NONCE], method: NATIVE.to_vec() };
    if greeting.capabilities & NEEDED != NEEDED {
        return Some(greeting);
    }
    // Character set and status.
    cursor.take(3)?;
    let high = u16::from_le_bytes(cursor.array()?);
    greeting.capabilities |= u32::from(high) << 16;
    // Length of the random number, always the same, and something reserved.
    cursor.take(11)?;
    let second: [u8; 12] = cursor.array()?;
    for (to, from) in greeting.nonce.iter_mut().zip(first.iter().chain(&second)) {
        *to = *from;
    }
    cursor.byte()?;
    if greeting.capabilities & PLUGIN_AUTH != 0 {
        // Some servers forget the last NUL.
        let end = cursor.rest();
        greeting.method = end.split(|byte| *byte == 0).next().unwrap_or(end).to_vec();
    }
    Some(greeting)
}

/// A login method this probe speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Method {
    Native,
    Caching,
}

impl Method {
    fn named(name: &[u8]) -> Option<Method> {
        match name {
            NATIVE => Some(Method::Native),
            CACHING => Some(Method::Caching),
            _ => None,
        }
    }

    fn name(self) -> &'static [u8] {
        match self {
            Method::Native => NATIVE,
            Method::Caching => CACHING,
        }
    }

    /// The password, hashed so that only a server that knows it can tell. An empty one is no answer at all.
    fn answer(self, password: &[u8], nonce: &[u8]) -> Vec<u8> {
        if password.is_empty() {
            return Vec::new();
        }
        match self {
            Method::Native => {
                let once: [u8; 20] = Sha1::digest(password).into();
                let twice = Sha1::digest(once);
                let mut answer = once;
                mix(&mut answer, &Sha1::new().chain_update(nonce).chain_update(twice).finalize());
                answer.to_vec()
            }
            Method::Caching => {
                let once: [u8; 32] = Sha256::digest(password).into();
                let twice = Sha256::digest(once);
                let mut answer = once;
                mix(&mut answer, &Sha256::new().chain_update(twice).chain_update(nonce).finalize());
                answer.to_vec()
            }
        }
    }
}

fn log_in(talk: &mut Talk, target: &Target, greeting: &Greeting) -> Result<(), Outcome> {
    // A server whose favourite we do not speak may still ask for another one for this user.
    let mut method = Method::named(&greeting.method).unwrap_or(Method::Native);
    let answer = method.answer(target.password.as_bytes(), &greeting.nonce);
    talk.send(&response(target, greeting, method, &answer))?;
    for _ in 0..MAX_LOGIN {
        let packet = talk.receive()?;
        match packet.as_slice() {
            [0, ..] if read_ok(&packet).is_some() => return Ok(()),
            [0xff, ..] => {
                let (server, user) = (target.server(), shown(target.username.as_bytes()));
                return Err(Outcome::Fail(format!("{server} refused the login of {user}: {}", error(&packet))));
            }
            [0xfe] => return Err(give_up(talk, target, b"mysql_old_password")),
            [0xfe, switch @ ..] => {
                let mut cursor = Cursor::new(switch);
                let (Some(name), nonce) = (cursor.until_nul(), cursor.rest()) else {
                    return Err(talk.line.garbage("a switch to a login method without a name", &packet));
                };
                method = Method::named(name).ok_or_else(|| give_up(talk, target, name))?;
                let Some(nonce) = nonce.get(..NONCE) else {
                    return Err(talk.line.garbage("a switch to a login method without a random number", &packet));
                };
                talk.send(&method.answer(target.password.as_bytes(), nonce))?;
            }
            // The hash was right; "OK" follows.
            [1, 3] if method == Method::Caching => {}
            [1, 4] if method == Method::Caching && target.tls.is_some() => {
                talk.send(&[target.password.as_bytes(), b"\0"].concat())?;
            }
            [1, 4] if method == Method::Caching => return Err(uncached(talk, target)),
            _ => return Err(talk.line.garbage("within the login", &packet)),
        }
    }
    Err(talk.line.garbage("a login without an end", &[]))
}

/// What we can do: how the answer to a greeting begins, and all of it that is said before TLS.
fn introduction(target: &Target, greeting: &Greeting) -> Vec<u8> {
    let mut capabilities = PROTOCOL_41 | TRANSACTIONS | SECURE_CONNECTION;
    capabilities |= greeting.capabilities & PLUGIN_AUTH;
    if target.database.is_some() {
        capabilities |= CONNECT_WITH_DB;
    }
    if target.tls.is_some() {
        capabilities |= SSL;
    }
    let mut packet = capabilities.to_le_bytes().to_vec();
    packet.extend_from_slice(&u32::try_from(MAX_PACKET).unwrap_or_default().to_le_bytes());
    packet.push(CHARSET);
    packet.extend_from_slice(&[0; 23]);
    packet
}

/// The answer to a greeting.
fn response(target: &Target, greeting: &Greeting, method: Method, answer: &[u8]) -> Vec<u8> {
    let mut packet = introduction(target, greeting);
    packet.extend_from_slice(target.username.as_bytes());
    packet.push(0);
    packet.push(u8::try_from(answer.len()).unwrap_or_default());
    packet.extend_from_slice(answer);
    if let Some(database) = &target.database {
        packet.extend_from_slice(database.as_bytes());
        packet.push(0);
    }
    if greeting.capabilities & PLUGIN_AUTH != 0 {
        packet.extend_from_slice(method.name());
        packet.push(0);
    }
    packet
}

/// Ends a login that we cannot finish. A server that is left in the middle counts a broken handshake, and refuses the whole host after 100
/// of them (`max_connect_errors`). An answer that cannot be right makes it end the login itself; it is not waited for.
fn abandon(talk: &mut Talk) {
    let packet = [1, 0, 0, talk.sequence, 0];
    talk.line.farewell(&packet);
}

fn give_up(talk: &mut Talk, target: &Target, method: &[u8]) -> Outcome {
    abandon(talk);
    Outcome::Unknown(format!(
        "{} wants {} to log in by {}, which this probe does not speak; give the probe a user with mysql_native_password or \
         caching_sha2_password",
        target.server(),
        shown(target.username.as_bytes()),
        shown(method)
    ))
}

fn uncached(talk: &mut Talk, target: &Target) -> Outcome {
    abandon(talk);
    Outcome::Unknown(format!(
        "{} wants the password of {} itself, which this probe sends over TLS only: either it is wrong, or nobody has logged in by it since \
         the server started; write tls = {{}}, log in once over the server's socket, or give the probe a user with mysql_native_password",
        target.server(),
        shown(target.username.as_bytes())
    ))
}

fn query(talk: &mut Talk, target: &Target) -> Result<Outcome, Outcome> {
    talk.sequence = 0;
    talk.send(&[b"\x03", target.query.as_bytes()].concat())?;
    let (server, query) = (target.server(), shown(target.query.as_bytes()));
    let failed = |packet: &[u8]| Err(Outcome::Fail(format!("{server}: {query} failed: {}", error(packet))));
    let unknown = |story: &str| Err(Outcome::Unknown(format!("{server}: {query} {story}")));
    let several = || unknown("is more than one statement; use one probe for each");
    let mut rows = Rows::new(target);

    let packet = talk.receive()?;
    let columns = match packet.first() {
        Some(0) => {
            return match read_ok(&packet) {
                Some(status) if status & MORE_RESULTS != 0 => several(),
                Some(_) => Ok(rows.verdict()),
                None => Err(talk.line.garbage("an OK that ends too early", &packet)),
            };
        }
        Some(0xff) => return failed(&packet),
        Some(0xfb) => return unknown("loads a local file; write a statement that returns rows, such as SELECT 1"),
        _ => {
            let mut cursor = Cursor::new(&packet);
            let count = read_length(&mut cursor).filter(|count| (1..=MAX_COLUMNS).contains(count));
            match count.filter(|_| cursor.is_empty()) {
                Some(count) => count,
                None => return Err(talk.line.garbage("a result without columns", &packet)),
            }
        }
    };
    for _ in 0..columns {
        let packet = talk.receive()?;
        match packet.first() {
            Some(0xff) => return failed(&packet),
            Some(0xfe) => return Err(talk.line.garbage("fewer columns than announced", &packet)),
            _ => {}
        }
    }
    let packet = talk.receive()?;
    if packet.first() == Some(&0xff) {
        return failed(&packet);
    }
    if read_end(&packet).is_none() {
        return Err(talk.line.garbage("columns without an end", &packet));
    }
    loop {
        let packet = talk.receive()?;
        if packet.first() == Some(&0xff) {
            return failed(&packet);
        }
        match read_end(&packet) {
            Some(status) if status & MORE_RESULTS != 0 => return several(),
            Some(_) => return Ok(rows.verdict()),
            None => {}
        }
        if take_row(&packet, columns, &mut rows).is_none() {
            return Err(talk.line.garbage("a malformed row", &packet));
        }
        rows.end_row()?;
    }
}

/// Takes the values of a row; `None` if it is not one.
fn take_row(packet: &[u8], columns: u64, rows: &mut Rows<'_>) -> Option<()> {
    let mut cursor = Cursor::new(packet);
    for _ in 0..columns {
        if cursor.rest().first() == Some(&0xfb) {
            cursor.byte()?;
            rows.value(None);
        } else {
            let length = usize::try_from(read_length(&mut cursor)?).ok()?;
            rows.value(Some(cursor.take(length)?));
        }
    }
    cursor.is_empty().then_some(())
}

/// A number of one, three, four or nine bytes.
fn read_length(cursor: &mut Cursor<'_>) -> Option<u64> {
    match cursor.byte()? {
        small @ 0..=0xfa => Some(u64::from(small)),
        0xfc => cursor.array().map(|bytes| u64::from(u16::from_le_bytes(bytes))),
        0xfd => cursor.array().map(|[low, middle, high]| u64::from(u32::from_le_bytes([low, middle, high, 0]))),
        0xfe => cursor.array().map(u64::from_le_bytes),
        _ => None,
    }
}

/// The status in an OK packet.
fn read_ok(packet: &[u8]) -> Option<u16> {
    let mut cursor = Cursor::new(packet);
    cursor.byte()?;
    read_length(&mut cursor)?;
    read_length(&mut cursor)?;
    cursor.array().map(u16::from_le_bytes)
}

/// The status in the packet that ends columns or rows; `None` if it is not that.
fn read_end(packet: &[u8]) -> Option<u16> {
    match packet {
        [0xfe, _, _, low, high] => Some(u16::from_le_bytes([*low, *high])),
        _ => None,
    }
}

/// An error as the server tells it: its number, the standard's state if it says one, and the text.
fn error(packet: &[u8]) -> String {
    let mut cursor = Cursor::new(packet);
    cursor.byte();
    let Some(code) = cursor.array().map(u16::from_le_bytes) else {
        return "an error without a number".to_owned();
    };
    match cursor.rest() {
        [b'#', a, b, c, d, e, text @ ..] => format!("error {code} ({}): {}", said(&[*a, *b, *c, *d, *e]), said(text)),
        text => format!("error {code}: {}", said(text)),
    }
}

#[cfg(test)]
mod tests {
    use super::{Method, error};

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Vectors that Go's driver for MySQL tests itself with.
    #[test]
    fn passwords_are_hashed_as_other_clients_do() {
        let nonce = [70, 114, 92, 94, 1, 38, 11, 116, 63, 114, 23, 101, 126, 103, 26, 95, 81, 17, 24, 21];
        assert_eq!(hex(&Method::Native.answer(b"secret", &nonce)), "35b18c9ffbbd7f356dfcac32d3c0f0a41a30cf2d");
        let nonce = [10, 47, 74, 111, 75, 73, 34, 48, 88, 76, 114, 74, 37, 13, 3, 80, 82, 2, 23, 21];
        assert_eq!(
            hex(&Method::Caching.answer(b"secret", &nonce)),
            "f490e76f66d9d86665ce54d98c78d0acfe2fb0b08b423da807144873d30b312c"
        );
        assert!(Method::Native.answer(b"", &nonce).is_empty() && Method::Caching.answer(b"", &nonce).is_empty());
    }

    #[test]
    fn errors_are_told_with_and_without_a_state() {
        assert_eq!(error(b"\xff\x15\x04#28000Access denied"), "error 1045 (28000): Access denied");
        assert_eq!(error(b"\xff\x10\x04Too many\nconnections"), "error 1040: Too many connections");
        assert_eq!(error(b"\xff\x10\x04#08"), "error 1040: #08");
        assert_eq!(error(b"\xff\x10"), "an error without a number");
    }
}
