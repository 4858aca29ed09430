//! Callback: tells each event to a metrics server, as one datagram of JSON in the form that process-wrapper sends.
//!
//! What each setting means is said in the README. The modules: [`labels`] says what goes with an event, this one sends it. Nothing is waited for:
//! the form has no answer.
#![forbid(unsafe_code)]

mod labels;

use std::collections::BTreeMap;
use std::fmt::Write;

use hilum_plugin::{
    Callback, Context, Description, Event, Grant, Host, NetworkError, Place, Plugin, Reaction, Settings, SettingsError,
};

use crate::labels::Sources;

/// Longest datagram. **Units:** bytes. **Source:** `wit/host/udp.wit`.
const MAX_DATAGRAM: usize = 65_507;

/// The plugin.
#[derive(Debug)]
pub struct CallbackEvents;

/// Whom to tell, and what goes with it.
#[derive(Debug)]
pub struct Target {
    place: Place,
    sources: Sources,
}

impl Plugin for CallbackEvents {
    type Settings = Target;

    fn describe() -> Description {
        Description {
            name: "callback-events",
            version: env!("CARGO_PKG_VERSION"),
            settings_schema: include_str!("../settings.json"),
            grants: vec![
                Grant { kind: "connect", value: None, reason: "udp:HOST:PORT of the settings" },
                Grant { kind: "files", value: None, reason: "`labels-from-file`, if it is set" },
                Grant {
                    kind: "env",
                    value: None,
                    reason: "the variables that `labels-from-env` names, if there are any",
                },
            ],
        }
    }

    fn read(settings: &mut Settings) -> Result<Target, SettingsError> {
        Ok(Target { place: Place::read(settings, None)?, sources: Sources::read(settings)? })
    }
}

impl Callback for CallbackEvents {
    fn notify(target: &Target, event: &Event, _: &Context, host: &impl Host) -> Reaction {
        tell(target, event, host).unwrap_or_else(|reaction| reaction)
    }
}

hilum_plugin::export_callback!(CallbackEvents);

/// One telling. An early end is an `Err`.
fn tell(target: &Target, event: &Event, host: &impl Host) -> Result<Reaction, Reaction> {
    let place = &target.place;
    let datagram = json(&event.name, &target.sources.collect(event, host)?);
    if datagram.len() > MAX_DATAGRAM {
        let story = format!("the event has {} bytes as a datagram; at most {MAX_DATAGRAM} can be sent", datagram.len());
        return Err(Reaction::Failed(story));
    }
    let mut socket = host.connect_udp(&place.host, place.port).map_err(|error| trouble(place, &error))?;
    socket.send(datagram.as_bytes()).map_err(|error| trouble(place, &error))?;
    Ok(Reaction::Done(String::new()))
}

/// What comes of trouble on the way: whatever may be over by the next try is tried again.
fn trouble(place: &Place, error: &NetworkError) -> Reaction {
    let story = format!("cannot tell udp:{place}: {error}");
    match error {
        NetworkError::Denied(_)
        | NetworkError::Forbidden(_)
        | NetworkError::Invalid(_)
        | NetworkError::Unsupported(_) => Reaction::Failed(story),
        NetworkError::NameUnresolved(_)
        | NetworkError::Refused
        | NetworkError::Unreachable(_)
        | NetworkError::TimedOut
        | NetworkError::Closed
        | NetworkError::Untrusted(_)
        | NetworkError::Limit(_)
        | NetworkError::Other(_) => Reaction::retry(story),
    }
}

/// The event as it is sent.
fn json(name: &str, labels: &BTreeMap<String, String>) -> String {
    let mut out = String::from("{\"name\":");
    quote(&mut out, name);
    out.push_str(",\"labels\":{");
    for (index, (label, value)) in labels.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        quote(&mut out, label);
        out.push(':');
        quote(&mut out, value);
    }
    out.push_str("},\"op\":\"event\",\"value\":1}");
    out
}

/// Adds `text` as a JSON string.
///
/// **Source:** RFC 8259, section 7.
fn quote(out: &mut String, text: &str) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => out.extend(['\\', character]),
            '\0'..='\x1f' => {
                // Writing to a string does not fail.
                let _ = write!(out, "\\u{:04x}", u32::from(character));
            }
            _ => out.push(character),
        }
    }
    out.push('"');
}
