//! The environment the test plans are read in.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

/// Looks a variable up.
pub(crate) fn lookup(name: &str) -> Option<OsString> {
    match name {
        "PORT" => Some(OsString::from("9090")),
        "GREETING" => Some(OsString::from("two words \"quoted\" $PORT")),
        "EMPTY" => Some(OsString::new()),
        "BYTES" => Some(OsString::from_vec(vec![b'a', 0xff])),
        _ => None,
    }
}
