//! The agent beside every Kafka broker: knows the lag of every consumer group and the health of the broker's JVM,
//! re-exports both on one `/metrics` page, and runs the user's rules, which are WebAssembly components.
//!
//! Data flows one way:
//!
//! ```text
//! kafka ─┐                         ┌▶ page ─▶ http ─▶ /metrics
//!        ├▶ Snapshot (immutable) ──┤
//! jmx ───┘                         └▶ rules ─▶ pipeline ─▶ deliver ─▶ the world
//! ```
//!
//! ARCHITECTURE.md has the code map and the invariants.

pub mod actions;
pub mod alerts;
pub mod app;
#[doc(hidden)]
pub mod bench;
pub mod cli;
pub mod client;
pub mod clock;
pub mod config;
pub mod control;
#[cfg(test)]
mod crash;
pub mod deliver;
pub mod demo;
pub mod events;
pub mod files;
pub mod history;
pub mod http;
pub mod jmx;
pub mod kafka;
pub mod model;
pub mod page;
pub mod pipeline;
pub mod recording;
pub mod rules;
pub mod ruletest;
pub mod snapshot;
pub mod store;
pub mod supervise;
