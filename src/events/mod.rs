//! What happens inside, told in one place: an event is one log line (on change of state, where it repeats) and one
//! counter. The figures themselves are in [`SelfMetrics`], an `Arc` handed down, so that several agents can run in
//! one test process.

mod metrics;

pub use metrics::{BUCKETS, Figure, Histogram, MAX_LABEL_SETS, SelfMetrics};
