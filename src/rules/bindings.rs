//! What `guest-sdk/wit` says, as Rust: generated, nothing else.

wasmtime::component::bindgen!({
    path: "guest-sdk/wit",
    world: "rule",
    imports: { default: trappable },
});

// `self::`: documentation tests know a crate of that name too.
pub(super) use self::brokerwarden::rule::{logging, own_alerts, rates, snapshot, state, time, types};

/// The package that rules import, with its version as it appears in their imports.
pub(super) const PACKAGE: &str = "brokerwarden:rule";
/// Version of the contract. Pre-releases link only to themselves.
pub(super) const VERSION: &str = "0.1.0-rc.2";
