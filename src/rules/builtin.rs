//! Rules that come with the agent: components embedded in it.

/// The component of `builtin:NAME`.
pub fn builtin(name: &str) -> Option<&'static [u8]> {
    BUILTIN.iter().find(|(known, _)| *known == name).map(|(_, bytes)| *bytes)
}

/// Names and components.
const BUILTIN: &[(&str, &[u8])] =
    &[("lag-threshold", include_bytes!("../../rules-examples/lag-threshold/lag-threshold.wasm"))];

/// The names that `builtin:` takes.
pub fn names() -> impl Iterator<Item = &'static str> {
    BUILTIN.iter().map(|(name, _)| *name)
}
