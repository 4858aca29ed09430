//! Callback: tells each event to a metrics server, as one datagram of JSON in the form that process-wrapper sends.
//!
//! What each setting means is said in the README. The modules: [`labels`] says what goes with an event, this one sends it. Nothing is waited for:
//! the form has no answer.
#![forbid(unsafe_code)]

mod labels;

use std::collections::BTreeMap;

use hilum_plugin::json::quoted;
use hilum_plugin::{
    Callback, Context, Description, Event, Grant, Host, Place, Plugin, Reaction, Settings, SettingsError,
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
    host.connect_udp(&place.host, place.port)
        .and_then(|mut socket| socket.send(datagram.as_bytes()))
        .map(|()| Reaction::Done(String::new()))
        .map_err(|error| error.reaction(format!("cannot tell udp:{place}: {error}")))
}

/// The event as it is sent.
fn json(name: &str, labels: &BTreeMap<String, String>) -> String {
    let mut out = String::from("{\"name\":") + &quoted(name) + ",\"labels\":{";
    for (index, (label, value)) in labels.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        out = out + &quoted(label) + ":" + &quoted(value);
    }
    out + "},\"op\":\"event\",\"value\":1}"
}
