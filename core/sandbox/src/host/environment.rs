//! `hilum:host/environment`: variables of PID 1, as granted; the worker's own environment is empty.

use crate::bindings::host::environment::Host;
use crate::host::State;
use crate::text::clean;

impl Host for State {
    fn get(&mut self, name: String) -> wasmtime::Result<Result<Option<String>, String>> {
        if let Some((_, value)) = self.grants.env.iter().find(|(granted, _)| *granted == name) {
            return Ok(Ok(value.clone()));
        }
        let name = clean(&name, 128);
        let why = format!("reading {name} is not granted; to allow it, add \"{name}\" to allow.env of this plugin");
        self.deny(&why);
        Ok(Err(why))
    }
}
