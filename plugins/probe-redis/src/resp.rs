//! RESP2, the Redis protocol: how a command is written, and how one answer is read with a bound on everything that a server can announce.
//! It does not know what commands mean, and it does not speak RESP3, which a server only does after `HELLO 3`.
//!
//! **Source:** the Redis serialization protocol specification, <https://redis.io/docs/latest/develop/reference/protocol-spec/>.

use hilum_plugin::{Connection, NetworkError};

/// Bytes of one answer, framing included. Twice a string: lists such as `CONFIG GET *` have some 20 KiB.
const MAX_ANSWER: usize = 128 * 1024;

/// Bytes of one string. `INFO` has some 7 KiB.
const MAX_STRING: usize = 64 * 1024;

/// Bytes of one line: an error, a short string or a number. The longest error of Redis has about 1 KiB.
const MAX_LINE: usize = 4 * 1024;

/// Values in one answer, nested ones included. Bounds the work where each value has few bytes.
const MAX_VALUES: usize = 4096;

/// Lists within lists. `CLUSTER SLOTS` has four.
const MAX_DEPTH: usize = 8;

/// Bytes asked of the host at a time.
const READ: usize = 16 * 1024;

/// An answer to one command.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Answer {
    /// A string of either kind, or a number as it was written.
    Text(Vec<u8>),
    /// There is nothing.
    Nil,
    /// An error, or a list with one inside.
    Error(Vec<u8>),
    /// A list, flattened: a line for each value, an empty one for nil.
    List {
        /// Values outside of inner lists and in them.
        count: usize,
        /// The lines.
        text: Vec<u8>,
    },
}

/// Why there is no answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum WireError {
    /// The command could not be sent.
    Send(NetworkError),
    /// The answer could not be received.
    Receive(NetworkError),
    /// The server has ended its side.
    Ended,
    /// The first byte begins no answer.
    Foreign,
    /// It began as an answer and did not go on as one; the text fits after a comma. It repeats nothing that came: that may hold a password.
    Malformed(String),
    /// A bound was met; the text says which, and repeats nothing either.
    TooMuch(String),
    /// Something came after the answer.
    Unasked,
}

/// One value as it stands in an answer.
enum Value {
    Text(Vec<u8>),
    Nil,
    Error(Vec<u8>),
    /// So many values follow.
    List(usize),
}

/// A connection on which commands are asked one after the other.
pub(crate) struct Wire {
    connection: Box<dyn Connection>,
    /// What came since the last command was sent.
    received: Vec<u8>,
    /// How much of it was read as an answer.
    at: usize,
}

impl Wire {
    pub(crate) fn new(connection: Box<dyn Connection>) -> Wire {
        Wire { connection, received: Vec::new(), at: 0 }
    }

    /// What came since the last command was sent.
    pub(crate) fn came(&self) -> &[u8] {
        &self.received
    }

    /// Sends a command and reads its answer.
    pub(crate) fn ask(&mut self, words: &[&str]) -> Result<Answer, WireError> {
        self.received.clear();
        self.at = 0;
        match self.connection.write(&encode(words)) {
            // A server that has too many clients, or none it trusts, says so and closes before it has read anything.
            Ok(()) | Err(NetworkError::Closed) => {}
            Err(error) => return Err(WireError::Send(error)),
        }
        let answer = self.answer()?;
        if self.at < self.received.len() && !matches!(answer, Answer::Error(_)) {
            return Err(WireError::Unasked);
        }
        Ok(answer)
    }

    fn answer(&mut self) -> Result<Answer, WireError> {
        let first = match self.value()? {
            Value::Text(text) => return Ok(Answer::Text(text)),
            Value::Nil => return Ok(Answer::Nil),
            Value::Error(text) => return Ok(Answer::Error(text)),
            Value::List(first) => first,
        };
        let mut text = Vec::new();
        let mut count = 0_usize;
        let mut lines = 0_usize;
        // For each list that is not complete: how many values are to come.
        let mut open = vec![first];
        while let Some(left) = open.last_mut() {
            let Some(fewer) = left.checked_sub(1) else {
                open.pop();
                continue;
            };
            *left = fewer;
            count = count.saturating_add(1);
            if count > MAX_VALUES {
                return Err(WireError::TooMuch(format!("more than {MAX_VALUES} values")));
            }
            let line = match self.value()? {
                Value::Text(line) => line,
                Value::Nil => Vec::new(),
                Value::Error(error) => return Ok(Answer::Error(error)),
                Value::List(_) if open.len() >= MAX_DEPTH => {
                    return Err(WireError::TooMuch(format!("more than {MAX_DEPTH} lists within each other")));
                }
                Value::List(inner) => {
                    open.push(inner);
                    continue;
                }
            };
            if lines > 0 {
                text.push(b'\n');
            }
            lines = lines.saturating_add(1);
            text.extend_from_slice(&line);
        }
        Ok(Answer::List { count, text })
    }

    fn value(&mut self) -> Result<Value, WireError> {
        while self.at >= self.received.len() {
            self.receive()?;
        }
        let kind = self.received.get(self.at).copied().unwrap_or_default();
        if !b"+-:$*".contains(&kind) {
            return Err(match self.at {
                0 => WireError::Foreign,
                at => WireError::Malformed(format!("where byte {at} begins no value")),
            });
        }
        self.at = self.at.saturating_add(1);
        let line = self.line()?;
        match kind {
            b'-' => Ok(Value::Error(line)),
            b':' => {
                let is_number = std::str::from_utf8(&line).is_ok_and(|digits| digits.parse::<i64>().is_ok());
                if is_number {
                    Ok(Value::Text(line))
                } else {
                    Err(WireError::Malformed("where a number is none".to_owned()))
                }
            }
            b'$' => match length(&line, MAX_STRING, "a string", "bytes")? {
                Some(length) => Ok(Value::Text(self.string(length)?)),
                None => Ok(Value::Nil),
            },
            b'*' => match length(&line, MAX_VALUES, "a list", "values")? {
                Some(length) => Ok(Value::List(length)),
                None => Ok(Value::Nil),
            },
            _ => Ok(Value::Text(line)),
        }
    }

    /// Takes what comes before the next end of line, and that end.
    fn line(&mut self) -> Result<Vec<u8>, WireError> {
        let mut searched = self.at;
        loop {
            let rest = self.received.get(searched..).unwrap_or_default();
            let found = rest.iter().position(|byte| *byte == b'\n');
            let end = searched.saturating_add(found.unwrap_or(rest.len()));
            if end.saturating_sub(self.at) > MAX_LINE {
                return Err(WireError::TooMuch(format!("a line of more than {MAX_LINE} bytes")));
            }
            if found.is_some() {
                let line = self.received.get(self.at..end).unwrap_or_default();
                return match line.strip_suffix(b"\r") {
                    Some(line) if !line.contains(&b'\r') => {
                        let line = line.to_vec();
                        self.at = end.saturating_add(1);
                        Ok(line)
                    }
                    _ => Err(WireError::Malformed("where a line does not end with CR LF".to_owned())),
                };
            }
            searched = end;
            self.receive()?;
        }
    }

    /// Takes `length` bytes and the end of line after them.
    fn string(&mut self, length: usize) -> Result<Vec<u8>, WireError> {
        let end = self.at.saturating_add(length);
        let after = end.saturating_add(2);
        while self.received.len() < after {
            self.receive()?;
        }
        if self.received.get(end..after) != Some(b"\r\n") {
            return Err(WireError::Malformed("where a string is not as long as announced".to_owned()));
        }
        let string = self.received.get(self.at..end).unwrap_or_default().to_vec();
        self.at = after;
        Ok(string)
    }

    /// Waits for more.
    fn receive(&mut self) -> Result<(), WireError> {
        let room = MAX_ANSWER.saturating_sub(self.received.len()).min(READ);
        if room == 0 {
            return Err(WireError::TooMuch(format!("more than {MAX_ANSWER} bytes")));
        }
        let chunk = self.connection.read(u32::try_from(room).unwrap_or(u32::MAX)).map_err(WireError::Receive)?;
        if chunk.is_empty() {
            return Err(WireError::Ended);
        }
        self.received.extend_from_slice(&chunk);
        Ok(())
    }
}

/// A command as a list of strings, which may hold any bytes.
fn encode(words: &[&str]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
    }
    bytes
}

/// The length that `line` is, `None` for nil. Only the one way to write it counts: a server that writes it otherwise is none.
fn length(line: &[u8], limit: usize, what: &str, unit: &str) -> Result<Option<usize>, WireError> {
    if line == b"-1" {
        return Ok(None);
    }
    let is_plain = line == b"0" || (line.iter().all(u8::is_ascii_digit) && !line.starts_with(b"0"));
    if line.is_empty() || !is_plain {
        return Err(WireError::Malformed(format!("where the length of {what} is no number")));
    }
    // Only digits, so what cannot be parsed is too large.
    match String::from_utf8_lossy(line).parse::<usize>() {
        Ok(length) if length <= limit => Ok(Some(length)),
        _ => Err(WireError::TooMuch(format!("{what} of more than {limit} {unit}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::{Answer, MAX_VALUES, Wire, WireError, encode};
    use hilum_plugin::Host;
    use hilum_plugin::fake::{FakeHost, Step};

    fn read(bytes: &[u8]) -> Result<Answer, WireError> {
        let host = FakeHost::new().with_peer("h", 1, vec![Step::Send(bytes.to_vec())]);
        let connection = host.connect("h", 1).map_err(WireError::Send)?;
        Wire::new(connection).ask(&["PING"])
    }

    fn text(text: &str) -> Result<Answer, WireError> {
        Ok(Answer::Text(text.as_bytes().to_vec()))
    }

    fn list(count: usize, text: &str) -> Result<Answer, WireError> {
        Ok(Answer::List { count, text: text.as_bytes().to_vec() })
    }

    #[test]
    fn a_command_is_a_list_of_strings() {
        assert_eq!(
            encode(&["GET", "a\r\nb", "ü", ""]),
            "*4\r\n$3\r\nGET\r\n$4\r\na\r\nb\r\n$2\r\nü\r\n$0\r\n\r\n".as_bytes()
        );
    }

    #[test]
    fn every_kind_of_answer_is_read() {
        for (bytes, expected) in [
            ("+PONG\r\n", text("PONG")),
            ("+\r\n", text("")),
            (":-42\r\n", text("-42")),
            ("$6\r\na\r\nb\r\n\r\n", text("a\r\nb\r\n")),
            ("$0\r\n\r\n", text("")),
            ("$-1\r\n", Ok(Answer::Nil)),
            ("*-1\r\n", Ok(Answer::Nil)),
            ("-ERR no\r\n", Ok(Answer::Error(b"ERR no".to_vec()))),
            ("*0\r\n", list(0, "")),
            ("*3\r\n$6\r\nmaster\r\n:7\r\n*0\r\n", list(3, "master\n7")),
            ("*2\r\n*2\r\n+a\r\n$-1\r\n*1\r\n*1\r\n:1\r\n", list(6, "a\n\n1")),
            ("*2\r\n+a\r\n-ERR in\r\n", Ok(Answer::Error(b"ERR in".to_vec()))),
        ] {
            assert_eq!(read(bytes.as_bytes()), expected, "{bytes:?}");
        }
    }

    #[test]
    fn what_is_announced_has_bounds() {
        let too_much = |bytes: String| matches!(read(bytes.as_bytes()), Err(WireError::TooMuch(_)));
        assert!(read(format!("${}\r\n{}\r\n", 65_536, "x".repeat(65_536)).as_bytes()).is_ok());
        assert!(too_much("$65537\r\n".to_owned()));
        assert!(too_much(format!("${}\r\n", u64::MAX)));
        assert!(too_much(format!("${}\r\n", "9".repeat(4000))));
        assert!(too_much("*4097\r\n".to_owned()));
        assert!(read(format!("*4096\r\n{}", "+\r\n".repeat(MAX_VALUES)).as_bytes()).is_ok());
        assert!(too_much(format!("*4096\r\n*1\r\n{}", "+\r\n".repeat(MAX_VALUES))));
        assert!(read(format!("{}+\r\n", "*1\r\n".repeat(8)).as_bytes()).is_ok());
        assert!(too_much(format!("{}+\r\n", "*1\r\n".repeat(9))));
        assert!(too_much(format!("*3\r\n{}", format!("${}\r\n{}\r\n", 60_000, "x".repeat(60_000)).repeat(3))));
        assert!(too_much(format!("+{}\r\n", "x".repeat(5000))));
        assert!(too_much(format!("+{}", "x".repeat(5000))));
    }

    #[test]
    fn lengths_and_numbers_have_one_way_to_be_written() {
        for bytes in [
            "$05\r\nhello\r\n",
            "$+5\r\nhello\r\n",
            "$\r\n",
            "$-2\r\n",
            "$ 5\r\n",
            "*x\r\n",
            ":1.5\r\n",
            ":\r\n",
            "$5\r\nhelloXX",
            "$5\r\nhello\n\r",
            "+PONG\n",
            "+PO\rNG\r\n",
            "*1\r\nx",
        ] {
            assert!(
                matches!(read(bytes.as_bytes()), Err(WireError::Malformed(_))),
                "{bytes:?}: {:?}",
                read(bytes.as_bytes())
            );
        }
    }

    #[test]
    fn what_is_no_answer_is_foreign_cut_or_unasked() {
        assert_eq!(read(b"HTTP/1.1 200 OK\r\n"), Err(WireError::Foreign));
        assert_eq!(read(b"%1\r\n+a\r\n+b\r\n"), Err(WireError::Foreign));
        for bytes in ["", "+", "+PONG", "+PONG\r", "$5", "$5\r\nhell", "$5\r\nhello\r", "*2\r\n+a\r\n"] {
            assert_eq!(read(bytes.as_bytes()), Err(WireError::Ended), "{bytes:?}");
        }
        assert_eq!(read(b"+PONG\r\n+PONG\r\n"), Err(WireError::Unasked));
        assert_eq!(read(b"-ERR a\r\n-ERR b\r\n"), Ok(Answer::Error(b"ERR a".to_vec())));
    }
}
