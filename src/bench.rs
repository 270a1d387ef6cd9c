//! What benches/ measures and cannot reach otherwise. Hidden, and promised to nobody.

pub use crate::{
    demo::records::{offset_key, offset_value},
    kafka::bench::{Found, Replay},
    page::bench::Gzip,
    rules::bench::Rule,
};
