//! Does in the world what rules were granted and the pipeline decided: programs, webhooks, records in Kafka. Deeds of one key
//! in order and one at a time, each ended in exactly one result. Does not know why a deed is to be done, and keeps nothing:
//! what was not ended when we stopped is in the pipeline's outbox.

mod argument;
mod dispatch;
mod doing;
mod lane;
mod message;
mod pause;
mod program;
mod settings;
mod silence;
mod spawn;
#[cfg(test)]
mod tests;

pub use argument::{Argument, Part};
pub use dispatch::{CUT_OUT, Handle, MAX_UNSENT, RUN_OUT, Setup, start};
pub use doing::{MAX_ATTEMPTS, MAX_DEED_AGE, MAX_SILENCE_WAIT};
pub use lane::MAX_WAITING_DEEDS;
pub use message::{Message, NotProduced, Produce};
pub use pause::{PAUSE_FILE, PAUSE_LOOK, Paused, SEEN_WITHIN, pause, paused, resume};
pub use program::{KILL_AFTER, MAX_OUTPUT};
pub use settings::{Config, Exec, Kind, Silencer, Webhook};
pub use silence::MAX_SILENCES_BYTES;
