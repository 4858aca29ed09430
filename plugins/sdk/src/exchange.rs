//! A first exchange on a connection: something is sent, and something is looked for in what comes back. What probes of any kind of stream
//! share; where the stream leads is theirs.

use std::fmt;

use crate::host::{Connection, NetworkError};
use crate::plugin::Outcome;
use crate::settings::{Setting, Settings, SettingsError};
use crate::text::{holds, shown};

/// Bytes that are searched for what is expected. A greeting has a line or two.
const MAX_ANSWER: usize = 64 * 1024;

/// What to say on a connection, and what to hear. Both may be nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct Exchange {
    send: Option<String>,
    expect: Option<String>,
}

impl fmt::Debug for Exchange {
    /// Without what is sent, which may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange").field("expect", &self.expect).finish_non_exhaustive()
    }
}

impl Exchange {
    /// Reads `send` and `expect`.
    ///
    /// **Errors:** one of them is no text.
    pub fn read(settings: &mut Settings) -> Result<Exchange, SettingsError> {
        let text = |setting: Setting| setting.string().map(str::to_owned);
        Ok(Exchange {
            send: settings.optional("send").map(text).transpose()?,
            expect: settings.optional("expect").map(text).transpose()?,
        })
    }

    /// Takes place on a connection to `place`, if there is one.
    pub fn over(&self, opened: Result<Box<dyn Connection>, NetworkError>, place: &dyn fmt::Display) -> Outcome {
        let mut connection = match opened {
            Ok(connection) => connection,
            Err(error) => return error.outcome(&format!("connect to {place}")),
        };
        if let Some(text) = &self.send
            && let Err(error) = connection.write(text.as_bytes())
        {
            return error.outcome(&format!("send to {place}"));
        }
        match &self.expect {
            None => Outcome::Pass,
            Some(text) => listen(connection.as_mut(), text.as_bytes(), place),
        }
    }
}

/// Reads until `wanted` is among the bytes.
fn listen(connection: &mut dyn Connection, wanted: &[u8], place: &dyn fmt::Display) -> Outcome {
    let mut answer = Vec::new();
    loop {
        // Not searched twice: what came before can only hold the beginning of a match.
        let from = answer.len().saturating_sub(wanted.len());
        let rest = MAX_ANSWER.saturating_sub(answer.len());
        let chunk = match connection.read(u32::try_from(rest).unwrap_or(u32::MAX)) {
            Ok(chunk) => chunk,
            Err(NetworkError::TimedOut) => {
                return Outcome::Fail(format!("{place} did not send {} in time, {}", shown(wanted), came(&answer)));
            }
            Err(error) => return error.outcome(&format!("read from {place}, {}", came(&answer))),
        };
        let ended = chunk.is_empty();
        answer.extend_from_slice(&chunk);
        if answer.get(from..).is_some_and(|new| holds(new, wanted)) {
            return Outcome::Pass;
        }
        if ended {
            return Outcome::Fail(format!("{place} did not send {}, {}", shown(wanted), came(&answer)));
        }
    }
}

fn came(answer: &[u8]) -> String {
    if answer.is_empty() { "it sent nothing".to_owned() } else { format!("it sent {}", shown(answer)) }
}

#[cfg(test)]
mod tests {
    use super::Exchange;
    use crate::fake::{FakeHost, Step};
    use crate::host::{Host, NetworkError};
    use crate::plugin::Outcome;

    fn exchange(send: &str, expect: &str) -> Exchange {
        Exchange { send: Some(send.to_owned()), expect: Some(expect.to_owned()) }
    }

    #[test]
    fn what_came_before_a_connection_broke_off_is_told() {
        let host = FakeHost::new().with_unix_peer("/s", vec![Step::Send(b"-BUSY".to_vec()), Step::Reset]);
        let outcome = exchange("PING", "+PONG").over(host.connect_unix("/s"), &"unix:/s");
        let told = r#"cannot read from unix:/s, it sent "-BUSY": connection closed by the peer"#;
        assert_eq!(outcome, Outcome::Fail(told.to_owned()));
    }

    #[test]
    fn a_connection_there_is_not_is_judged_as_such() {
        let outcome = exchange("", "").over(Err(NetworkError::Limit("too many".to_owned())), &"here");
        assert_eq!(outcome, Outcome::Unknown("cannot connect to here: too many".to_owned()));
    }

    #[test]
    fn what_is_sent_is_not_shown_to_developers() {
        let shown = format!("{:?}", exchange("AUTH hunter2", "+OK"));
        assert!(shown.contains("+OK") && !shown.contains("hunter2"), "{shown}");
    }
}
