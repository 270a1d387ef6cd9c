//! Frames: four bytes of length, the highest first, then as much JSON. Pure: no I/O.

use serde::{Serialize, de::DeserializeOwned};

/// Bytes of the length.
pub(super) const HEAD: usize = 4;

/// Why bytes are no frame, or cannot become one.
#[derive(Debug, thiserror::Error)]
pub(super) enum FrameError {
    #[error("a frame of {length} bytes; at most {most} are taken")]
    TooLong { length: u64, most: u32 },
    #[error("a frame that is not understood: {0}")]
    Json(#[from] serde_json::Error),
}

/// A frame of at most `most` bytes of JSON.
pub(super) fn encode(value: &impl Serialize, most: u32) -> Result<Vec<u8>, FrameError> {
    let json = serde_json::to_vec(value)?;
    let length = u32::try_from(json.len()).ok().filter(|length| *length <= most);
    let length = length.ok_or(FrameError::TooLong { length: u64::try_from(json.len()).unwrap_or(u64::MAX), most })?;
    Ok([&length.to_be_bytes()[..], &json].concat())
}

/// How many bytes of JSON follow.
pub(super) fn length(head: [u8; HEAD], most: u32) -> Result<usize, FrameError> {
    let length = u32::from_be_bytes(head);
    let good = Some(length).filter(|length| *length <= most).and_then(|length| usize::try_from(length).ok());
    good.ok_or(FrameError::TooLong { length: length.into(), most })
}

/// What the JSON says.
pub(super) fn decode<T: DeserializeOwned>(json: &[u8]) -> Result<T, FrameError> {
    Ok(serde_json::from_slice(json)?)
}
