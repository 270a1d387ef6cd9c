//! Rules that come with the agent: components embedded in it.

/// The component of `builtin:NAME`.
pub fn builtin(name: &str) -> Option<&'static [u8]> {
    BUILTIN.iter().find(|(known, _)| *known == name).map(|(_, bytes)| *bytes)
}

/// The component that is checked in beside its source.
macro_rules! embedded {
    ($name:literal) => {
        ($name, include_bytes!(concat!("../../rules-examples/", $name, "/", $name, ".wasm")))
    };
}

/// Names and components.
const BUILTIN: &[(&str, &[u8])] = &[
    embedded!("data-loss"),
    embedded!("group-gone"),
    embedded!("jvm-health"),
    embedded!("lag-growing"),
    embedded!("lag-threshold"),
    embedded!("metric-threshold"),
    embedded!("partition-health"),
    embedded!("stalled-consumer"),
    embedded!("target-down"),
];

/// The names that `builtin:` takes.
pub fn names() -> impl Iterator<Item = &'static str> {
    BUILTIN.iter().map(|(name, _)| *name)
}
