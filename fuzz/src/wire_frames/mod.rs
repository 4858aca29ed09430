//! Frames between PID 1 and its workers. One that is understood says the same when it is written again, but for the last places of a number.

pub mod samples;

use std::fmt::Debug;

use hilum_wire::{FromSandbox, FromStatus, Series, ToSandbox, ToStatus, decode, encode};

/// Decodes `input` as a frame of each direction.
pub fn wire_frames(input: &[u8]) {
    try_as(input, decode::<ToStatus>, encode, |again, message| {
        if let (ToStatus::Measured { series: again, .. }, ToStatus::Measured { series, .. }) = (again, message) {
            again.iter_mut().zip(series).for_each(|(again, series)| settle(again, series));
        }
    });
    try_as(input, decode::<FromStatus>, encode, |_, _| {});
    try_as(input, decode::<ToSandbox>, encode, |_, _| {});
    try_as(input, decode::<FromSandbox>, encode, |again, message| {
        if let (FromSandbox::Measured { series: again, .. }, FromSandbox::Measured { series, .. }) = (again, message) {
            settle(again, series);
        }
    });
}

/// How far a number may be off, counted in numbers between. The reader of JSON rounds twice.
const OFF: u64 = 2;

/// Takes the value of a series for what it was if it is as near as the reader of JSON comes.
fn settle(again: &mut Series, series: &Series) {
    if again.value.to_bits().abs_diff(series.value.to_bits()) <= OFF {
        again.value = series.value;
    }
}

fn try_as<T: PartialEq + Debug, E: ToString>(
    frame: &[u8],
    decode: fn(&[u8]) -> Result<T, E>,
    encode: fn(&T) -> Result<Vec<u8>, E>,
    settle: fn(&mut T, &T),
) {
    match decode(frame) {
        // A frame at the limit may grow over it by what it left out.
        Ok(message) => {
            if let Ok(bytes) = encode(&message) {
                let mut again = decode(&bytes).map_err(|error| error.to_string());
                if let Ok(again) = &mut again {
                    settle(again, &message);
                }
                assert_eq!(again, Ok(message));
            }
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}
