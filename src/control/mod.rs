//! What the command line asks of a running agent: a Unix socket in `data_dir` that only the agent's own user may open. One
//! request for each connection; the answer is any number of frames, so that it can be long, or go on for as long as
//! somebody listens.

mod answer;
mod client;
mod frame;
mod place;
mod record;
mod server;
#[cfg(test)]
mod tests;

pub use answer::Sources;
pub use client::{Answers, AskError, ask};
pub use place::PlaceError;
pub use record::Recorded;
pub use server::serve;

use crate::rules::{RuleReport, StateEntry};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Of what is said here. Agent and command line are normally one program; they may differ while it is being replaced.
pub const VERSION: u32 = 1;
/// Bytes of a request.
pub const MAX_REQUEST_BYTES: u32 = 64 << 10;
/// Bytes of one frame of an answer: a value of a rule's state is 1 MiB at most, and JSON may need six times as much.
pub const MAX_FRAME_BYTES: u32 = 8 << 20;
/// Connections at the same time.
pub const MAX_CONNECTIONS: usize = 8;
/// How long a request may take to arrive.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the other side may take to read one frame.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the agent may take to do what it is asked.
pub const WORK_TIMEOUT: Duration = Duration::from_secs(20);
/// Bytes of a file in one frame.
pub const MAX_PIECE_BYTES: usize = 1 << 20;
/// While there is nothing to say of a recording, it is said this often.
pub const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// How long the command line waits for the next frame.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// A request as it is sent.
#[derive(Debug, Serialize, Deserialize)]
struct Envelope {
    version: u32,
    request: Request,
}

/// What can be asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// What a rule is and how it fares: one [`Answer::Rule`].
    Inspect {
        /// Its name.
        rule: String,
    },
    /// What a rule remembers: an [`Answer::Entry`] for each key, sorted.
    State {
        /// Its name.
        rule: String,
    },
    /// A recording of what the agent observes: an [`Answer::Piece`] for each part of the file, and empty ones meanwhile.
    Record {
        /// How long.
        for_ms: u64,
    },
    /// That a rule forgets what it remembers; nothing is told but that it is done.
    ResetState {
        /// Its name.
        rule: String,
    },
}

/// A frame of an answer. The last one is [`Answer::Done`] or [`Answer::Refused`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// A rule.
    Rule(Box<RuleReport>),
    /// A key of a rule's state, and its value.
    Entry(StateEntry),
    /// Bytes of a file, in hexadecimal; none to say that it goes on.
    Piece(String),
    /// That was all.
    Done,
    /// It cannot be done; why, for people.
    Refused(String),
}
