//! What a component imports and exports, read without compiling or running it.

use super::{componentize, report::Interfaces, world};

/// The interfaces of a rule's file: of a component, or of a core module that can be made one.
///
/// # Errors
/// Why it is none, for its author.
pub fn interfaces(file: &[u8]) -> Result<Interfaces, String> {
    let component = componentize::component(file)?;
    let world = world::read(&component)?;
    Ok(Interfaces { imports: world.imports, exports: world.exports })
}
