//! What a service manager says in `LISTEN_PID`, `LISTEN_FDS` and `NOTIFY_SOCKET`: three values with zero bytes between them.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use hilum_sys::listen::{parse_activation, parse_notify_socket};

/// Reads `input` as the values of the three variables; one that begins with a byte 1 is not set.
pub fn activation(input: &[u8]) {
    let mut values = input.splitn(3, |byte| *byte == 0);
    let mut next = || values.next().filter(|value| value.first() != Some(&1)).map(OsStr::from_bytes);
    let (pid, count, socket) = (next(), next(), next());
    match parse_activation(pid, count, 7) {
        Ok(sockets) => {
            assert!(sockets > 0, "no socket is none");
            assert_eq!(pid.and_then(OsStr::to_str).and_then(|text| text.parse().ok()), Some(7));
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    if let Some(socket) = socket
        && parse_notify_socket(socket).is_ok()
    {
        assert!(matches!(socket.as_bytes(), [b'/' | b'@', ..]), "{socket:?} is taken for an address");
    }
}
