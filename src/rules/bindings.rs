//! What `guest-sdk/wit` says, as Rust: generated, nothing else.

wasmtime::component::bindgen!({
    path: "guest-sdk/wit",
    world: "rule",
    imports: { default: trappable },
});

// `self::`: documentation tests know a crate of that name too.
pub(super) use self::brokerwarden::rule::{logging, own_actions, own_alerts, rates, snapshot, state, time, types};

/// The package that rules import, with its version as it appears in their imports.
pub(super) const PACKAGE: &str = "brokerwarden:rule";
/// Version of the contract. A rule is for exactly this one; when there is a later 0.1.N, those before it are to load as well.
pub(super) const VERSION: &str = "0.1.0";
