//! `hilum:host/dns`.

use super::{Error, flatten};
use crate::bindings::host::dns::Host;
use crate::grant::is_name;
use crate::host::State;
use crate::resolve::servers;
use crate::text::clean;

impl Host for State {
    async fn resolve(&mut self, name: String) -> wasmtime::Result<Result<Vec<String>, Error>> {
        let permitted = if !is_name(&name) {
            Err(Error::Invalid(format!("{:?} is not a host name", clean(&name, 256))))
        } else if !self.grants.may_resolve(&name) {
            Err(Error::Denied(format!(
                "looking up {name} is not granted; to allow it, add \"{name}\" to allow.resolve of this plugin"
            )))
        } else {
            Ok(())
        };
        let dialer = self.dialer();
        let found = self.pace.wait(async {
            permitted?;
            dialer.lookup(&name).await
        });
        let found = flatten(found.await);
        let found = self.report(found);
        Ok(found.map(|(addresses, _)| addresses.iter().map(ToString::to_string).collect()))
    }

    async fn servers(&mut self) -> wasmtime::Result<Result<Vec<String>, Error>> {
        let asks_servers = self.grants.connect.iter().any(|endpoint| endpoint.covers_port(53));
        let permitted = if self.grants.resolve.is_empty() && !asks_servers {
            Err(Error::Denied(
                "looking up names is not granted; to allow it, add a name to allow.resolve of this plugin".to_owned(),
            ))
        } else {
            Ok(())
        };
        Ok(self.report(permitted).map(|()| servers().iter().map(ToString::to_string).collect()))
    }
}
