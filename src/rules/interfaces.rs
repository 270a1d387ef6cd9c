//! What a component imports and exports, read without compiling or running it.

use super::{compile::componentize, report::Interfaces};
use std::borrow::Cow;
use wit_component::DecodedWasm;

/// The interfaces of a rule's file: of a component, or of a core module that says which world it is for.
///
/// # Errors
/// Why it is none, for its author.
pub fn interfaces(file: &[u8]) -> Result<Interfaces, String> {
    let component = match file.get(..8) {
        Some(b"\0asm\x0d\0\x01\0") => Cow::Borrowed(file),
        Some(b"\0asm\x01\0\0\0") => Cow::Owned(componentize(file).map_err(|error| error.to_string())?),
        _ => return Err("it is not a WebAssembly component".to_owned()),
    };
    let decoded = wit_component::decode(&component).map_err(|error| format!("{error:#}"))?;
    let DecodedWasm::Component(resolve, world) = decoded else {
        return Err("it is a package of WIT, not a component".to_owned());
    };
    let world = resolve.worlds.get(world).ok_or("it has no world")?;
    let names = |keys: Vec<_>| keys.into_iter().map(|key| resolve.name_world_key(key)).collect();
    Ok(Interfaces { imports: names(world.imports.keys().collect()), exports: names(world.exports.keys().collect()) })
}
