//! Probe: a service that says how long its queue is, as one line of text, to whoever connects.

use hilum_plugin::{Description, Grant, Host, Outcome, Place, Plugin, Probe, Request, Settings, SettingsError, shown};

pub struct Queue;

/// What the settings say: where to ask, and how many entries may wait.
pub struct Limit {
    place: Place,
    most: i64,
}

impl Plugin for Queue {
    type Settings = Limit;

    fn describe() -> Description {
        Description {
            name: env!("CARGO_PKG_NAME"),
            version: env!("CARGO_PKG_VERSION"),
            settings_schema: include_str!("../settings.json"),
            grants: vec![Grant { kind: "connect", value: None, reason: "host and port of the settings" }],
        }
    }

    fn read(settings: &mut Settings) -> Result<Limit, SettingsError> {
        let place = Place::read(settings, None)?;
        let most = settings.required("most", "most = 100")?.integer(0, 1_000_000)?;
        Ok(Limit { place, most })
    }
}

impl Probe for Queue {
    fn check(Limit { place, most }: &Limit, _request: &Request, host: &impl Host) -> Outcome {
        let mut connection = match place.connect(host) {
            Ok(connection) => connection,
            Err(error) => return error.outcome(&format!("connect to {place}")),
        };
        let mut line = Vec::new();
        while !line.contains(&b'\n') && line.len() < 100 {
            match connection.read(100) {
                Ok(bytes) if bytes.is_empty() => break,
                Ok(bytes) => line.extend(bytes),
                Err(error) => return error.outcome(&format!("read from {place}")),
            }
        }
        match std::str::from_utf8(&line).ok().and_then(|text| text.trim().parse::<i64>().ok()) {
            Some(length) if length <= *most => Outcome::Pass,
            Some(length) => Outcome::Fail(format!("{length} entries wait at {place}, more than {most}")),
            None => Outcome::Fail(format!("{place} sent {}, which is no number", shown(&line))),
        }
    }
}

hilum_plugin::export!(Queue);

#[cfg(test)]
mod tests {
    use super::*;
    use hilum_plugin::fake::{FakeHost, Step};

    fn check(steps: Vec<Step>) -> Outcome {
        let host = FakeHost::new().with_peer("127.0.0.1", 7, steps);
        let settings = r#"{"host": "127.0.0.1", "port": 7, "most": 10}"#.to_owned();
        hilum_plugin::check::<Queue>(&Request { settings, timeout_ms: 1000, attempt: 1 }, &host)
    }

    #[test]
    fn a_short_queue_passes_and_nothing_else_does() {
        assert_eq!(check(vec![Step::Send(b"10\n".to_vec())]), Outcome::Pass);
        assert_eq!(check(vec![Step::Drip { bytes: b"10\n".to_vec(), every_ms: 10 }]), Outcome::Pass);
        for steps in [
            vec![Step::Send(b"11\n".to_vec())],
            vec![Step::Send(b"HTTP/1.1 400\r\n".to_vec())],
            vec![Step::Hang],
            vec![Step::Reset],
        ] {
            assert!(matches!(check(steps.clone()), Outcome::Fail(_)), "{steps:?}");
        }
    }

    #[test]
    fn settings_that_cannot_be_are_mistakes() {
        assert!(hilum_plugin::read::<Queue>(r#"{"host": "db", "port": 7, "most": 0}"#).is_ok());
        for settings in [r#"{"host": "db", "port": 7}"#, r#"{"host": "db", "port": 0, "most": 1}"#] {
            assert!(hilum_plugin::read::<Queue>(settings).is_err(), "{settings}");
        }
    }
}
