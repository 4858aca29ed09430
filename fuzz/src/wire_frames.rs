//! Frames between PID 1 and its workers. One that is understood says the same when it is written again.

use std::fmt::Debug;

use hilum_wire::{FromSandbox, FromStatus, ToSandbox, ToStatus, decode, encode};

/// Decodes `input` as a frame of each direction.
pub fn wire_frames(input: &[u8]) {
    try_as(input, decode::<ToStatus>, encode);
    try_as(input, decode::<FromStatus>, encode);
    try_as(input, decode::<ToSandbox>, encode);
    try_as(input, decode::<FromSandbox>, encode);
}

fn try_as<T: PartialEq + Debug, E: ToString>(
    frame: &[u8],
    decode: fn(&[u8]) -> Result<T, E>,
    encode: fn(&T) -> Result<Vec<u8>, E>,
) {
    match decode(frame) {
        // A frame at the limit may grow over it by what it left out.
        Ok(message) => {
            if let Ok(bytes) = encode(&message) {
                let again = decode(&bytes).map_err(|error| error.to_string());
                assert_eq!(again, Ok(message));
            }
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}
