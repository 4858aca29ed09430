//! What is attempted, one file each, and how it is told.

mod churn;
mod clock_flood;
mod connect_tcp;
mod connect_udp;
mod connect_unix;
mod dns_servers;
mod drink;
mod environment;
mod fetch;
mod file_status;
mod files_at_once;
mod giant;
mod grow;
mod hoard;
mod insist;
mod list_directory;
mod log_flood;
mod long_reason;
mod many_fields;
mod many_labels;
mod nothing;
mod odd_numbers;
mod panic;
mod pem_flood;
mod pointers;
mod pour;
mod processes;
mod random_flood;
mod read_file;
mod read_swapped;
mod recurse;
mod remove_file;
mod resolve;
mod run;
mod series_flood;
mod sip;
mod sleep_forever;
mod sleep_nothing;
pub(crate) mod spin;
mod spin_between;
mod start_tls;
mod state_churn;
mod state_flood;
mod visit;
mod write_file;

use std::fmt;

use hilum_plugin::{Host, Outcome, SettingsError};

use crate::given::Given;

/// What came of an attempt, or what it was not given.
type Tried = Result<Outcome, SettingsError>;

/// Makes the attempt of this name, if there is one.
pub(crate) fn run(name: &str, given: &Given, host: &impl Host) -> Option<Tried> {
    Some(match name {
        "churn" => churn::attempt(given, host),
        "clock-flood" => clock_flood::attempt(given, host),
        "connect-tcp" => connect_tcp::attempt(given, host),
        "connect-udp" => connect_udp::attempt(given, host),
        "connect-unix" => connect_unix::attempt(given, host),
        "dns-servers" => dns_servers::attempt(given, host),
        "drink" => drink::attempt(given, host),
        "environment" => environment::attempt(given, host),
        "fetch" => fetch::attempt(given, host),
        "file-status" => file_status::attempt(given, host),
        "files-at-once" => files_at_once::attempt(given, host),
        "giant" => giant::attempt(given, host),
        "grow" => grow::attempt(given, host),
        "hoard" => hoard::attempt(given, host),
        "insist" => insist::attempt(given, host),
        "list-directory" => list_directory::attempt(given, host),
        "log-flood" => log_flood::attempt(given, host),
        "long-reason" => long_reason::attempt(given, host),
        "many-fields" => many_fields::attempt(given, host),
        "many-labels" => many_labels::attempt(given, host),
        "nothing" => nothing::attempt(given, host),
        "odd-numbers" => odd_numbers::attempt(given, host),
        "panic" => panic::attempt(given, host),
        "pem-flood" => pem_flood::attempt(given, host),
        "pointers" => pointers::attempt(given, host),
        "pour" => pour::attempt(given, host),
        "processes" => processes::attempt(given, host),
        "random-flood" => random_flood::attempt(given, host),
        "read-file" => read_file::attempt(given, host),
        "read-swapped" => read_swapped::attempt(given, host),
        "recurse" => recurse::attempt(given, host),
        "remove-file" => remove_file::attempt(given, host),
        "resolve" => resolve::attempt(given, host),
        "run" => run::attempt(given, host),
        "series-flood" => series_flood::attempt(given, host),
        "sip" => sip::attempt(given, host),
        "sleep-forever" => sleep_forever::attempt(given, host),
        "sleep-nothing" => sleep_nothing::attempt(given, host),
        "spin" => spin::attempt(given, host),
        "spin-between" => spin_between::attempt(given, host),
        "start-tls" => start_tls::attempt(given, host),
        "state-churn" => state_churn::attempt(given, host),
        "state-flood" => state_flood::attempt(given, host),
        "visit" => visit::attempt(given, host),
        "write-file" => write_file::attempt(given, host),
        _ => return None,
    })
}

/// It did not get what it wanted, but this.
fn met(what: impl fmt::Debug) -> Outcome {
    Outcome::Fail(format!("met {what:?}"))
}

/// It did not get what it wanted: the story.
fn stopped(story: &str) -> Outcome {
    Outcome::Fail(story.to_owned())
}
