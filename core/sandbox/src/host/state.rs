//! `hilum:host/state`: what a plugin remembers. The worker has it at hand, PID 1 is told of every change and brings it to the next worker.

use crate::bindings::host::state::{Error, Host};
use crate::host::State;
use crate::host::kept::Things;

/// Longest key. **Units:** bytes.
const MAX_KEY: usize = 128;

/// Longest value. **Units:** bytes. As hexadecimal digits it fills half a frame.
const MAX_VALUE: usize = 16 * 1024;

/// All keys and values of a plugin. **Units:** bytes. PID 1 keeps as much for each plugin.
pub(crate) const MAX_STATE: usize = 32 * 1024;

/// Whether `value` may stand at `key`.
fn fits(things: &Things, key: &str, value: Option<&[u8]>) -> Result<(), Error> {
    if key.is_empty() || key.len() > MAX_KEY {
        return Err(Error::Invalid(format!("a key has 1 to {MAX_KEY} bytes, this one {}", key.len())));
    }
    let Some(value) = value else { return Ok(()) };
    if value.len() > MAX_VALUE {
        return Err(Error::Limit(format!("a value has at most {MAX_VALUE} bytes, this one {}", value.len())));
    }
    let others: usize =
        things.state.iter().filter(|(other, _)| *other != key).map(|(key, value)| key.len() + value.len()).sum();
    let all = others.saturating_add(key.len()).saturating_add(value.len());
    if all > MAX_STATE {
        return Err(Error::Limit(format!("a plugin keeps at most {MAX_STATE} bytes, with this it would be {all}")));
    }
    Ok(())
}

impl State {
    /// Sets a value if `condition` holds for the one that is there; whether it did.
    fn put(
        &mut self,
        key: String,
        value: Option<Vec<u8>>,
        condition: impl FnOnce(Option<&Vec<u8>>) -> bool,
    ) -> Result<bool, Error> {
        let mut things = self.kept.things();
        fits(&things, &key, value.as_deref())?;
        let current = things.state.get(&key);
        if !condition(current) {
            return Ok(false);
        }
        if current != value.as_ref() {
            self.kept.uplink.keep(&key, value.as_deref());
            match value {
                Some(value) => things.state.insert(key, value),
                None => things.state.remove(&key),
            };
        }
        Ok(true)
    }
}

impl Host for State {
    fn get(&mut self, key: String) -> wasmtime::Result<Option<Vec<u8>>> {
        Ok(self.kept.things().state.get(&key).cloned())
    }

    async fn set(&mut self, key: String, value: Option<Vec<u8>>) -> wasmtime::Result<Result<(), Error>> {
        Ok(match self.heard().await {
            Ok(()) => self.put(key, value, |_| true).map(drop),
            Err(why) => Err(Error::Limit(why)),
        })
    }

    async fn compare_and_set(
        &mut self,
        key: String,
        expected: Option<Vec<u8>>,
        value: Option<Vec<u8>>,
    ) -> wasmtime::Result<Result<bool, Error>> {
        Ok(match self.heard().await {
            Ok(()) => self.put(key, value, |current| current == expected.as_ref()),
            Err(why) => Err(Error::Limit(why)),
        })
    }

    fn keys(&mut self) -> wasmtime::Result<Vec<String>> {
        Ok(self.kept.things().state.keys().cloned().collect())
    }
}
