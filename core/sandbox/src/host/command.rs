//! `hilum:host/command`: commands of the plan, run by PID 1 and never by the worker.

use std::sync::Arc;

use hilum_wire::Ending as Ended;

use crate::bindings::host::command::{Ending, Error, Host, Output};
use crate::host::State;
use crate::text::clean;

impl Host for State {
    async fn run(&mut self, name: String) -> wasmtime::Result<Result<Output, Error>> {
        let permit = if !self.grants.exec.contains(&name) {
            let name = clean(&name, 128);
            let why =
                format!("running {name} is not granted; to allow it, add \"{name}\" to allow.exec of this plugin");
            self.deny(&why);
            Err(Error::Denied(why))
        } else {
            let limit = |why: &str| Error::Limit(format!("{why}; {name} was not started"));
            let permit = Arc::clone(&self.kept.running).try_acquire_owned();
            permit.map_err(|_| limit("too many commands of this plugin run already")).and_then(|permit| {
                let turn = self.kept.turn(self.pace.left());
                let turn = turn.ok_or_else(|| limit("too many commands of this plugin are to start before it"))?;
                Ok((permit, turn))
            })
        };
        let uplink = Arc::clone(&self.kept.uplink);
        let ran = self.pace.wait(async {
            let (_permit, turn) = permit?;
            tokio::time::sleep(turn).await;
            Ok(uplink.run(&name).await)
        });
        Ok(match ran.await {
            Ok(Ok(ran)) => match ran.ending {
                Ended::Exited(code) => {
                    Ok(Output { ending: Ending::Exited(code), stdout: ran.stdout, stderr: ran.stderr, cut: ran.cut })
                }
                Ended::Signaled(signal) => Ok(Output {
                    ending: Ending::Signaled(signal),
                    stdout: ran.stdout,
                    stderr: ran.stderr,
                    cut: ran.cut,
                }),
                Ended::TimedOut => Err(Error::TimedOut),
                Ended::Refused(why) => Err(Error::Failed(why)),
            },
            Ok(Err(error)) => Err(error),
            Err(_) => Err(Error::TimedOut),
        })
    }
}
