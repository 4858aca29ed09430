//! One message to one packet and back.

use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Largest frame. **Units:** bytes. A report of one service with a page of probe messages is a few KiB; a peer that sends more is
/// broken or hostile. Doubling it doubles the one receive buffer each process keeps.
pub const MAX_FRAME: usize = 64 * 1024;

/// Why a frame could not be made or understood.
#[derive(Debug)]
pub enum FrameError {
    /// The message does not fit.
    TooLarge {
        /// Its length in bytes.
        len: usize,
    },
    /// The bytes are not a message of the expected kind.
    Malformed(serde_json::Error),
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FrameError::TooLarge { len } => write!(f, "frame of {len} bytes is over the limit of {MAX_FRAME}"),
            FrameError::Malformed(_) => write!(f, "frame is not a message of this protocol"),
        }
    }
}

impl std::error::Error for FrameError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            FrameError::TooLarge { .. } => None,
            FrameError::Malformed(error) => Some(error),
        }
    }
}

/// The frame of `message`.
///
/// **Errors:** [`FrameError::TooLarge`] when it does not fit.
pub fn encode<T: Serialize>(message: &T) -> Result<Vec<u8>, FrameError> {
    let bytes = serde_json::to_vec(message).map_err(FrameError::Malformed)?;
    if bytes.len() > MAX_FRAME { Err(FrameError::TooLarge { len: bytes.len() }) } else { Ok(bytes) }
}

/// The message in `frame`.
///
/// **Errors:** [`FrameError`] for anything but exactly one message of type `T`.
pub fn decode<T: DeserializeOwned>(frame: &[u8]) -> Result<T, FrameError> {
    if frame.len() > MAX_FRAME {
        return Err(FrameError::TooLarge { len: frame.len() });
    }
    serde_json::from_slice(frame).map_err(FrameError::Malformed)
}
