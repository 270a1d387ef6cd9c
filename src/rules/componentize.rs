//! From a user's file to a component. Toolchains end in different places: some make components, others (Zig, Go, Rust for
//! wasm32-wasip1) a core module, which is made a component here, so that nobody needs a further tool.

use super::bindings;
use memchr::memmem;
use std::borrow::Cow;
use wasi_preview1_component_adapter_provider::{
    WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER,
};
use wasmtime::Engine;
use wit_component::{ComponentEncoder, StringEncoding};
use wit_parser::Resolve;

/// How a component and a core module begin.
const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";
const CORE_MODULE: &[u8] = b"\0asm\x01\0\0\0";
/// The contract.
const CONTRACT: &str = include_str!("../../guest-sdk/wit/rule.wit");

/// Is it a core module, rather than a component?
pub(super) fn is_core_module(bytes: &[u8]) -> bool {
    bytes.starts_with(CORE_MODULE)
}

/// The component that a file is or can be made to. The error is a sentence for the rule's author.
pub(super) fn component(bytes: &[u8]) -> Result<Cow<'_, [u8]>, String> {
    if Engine::detect_precompiled(bytes).is_some() || bytes.starts_with(b"\x7fELF") {
        return Err("it is machine code, not WebAssembly; only WebAssembly components are taken".into());
    }
    if bytes.starts_with(COMPONENT) {
        return Ok(Cow::Borrowed(bytes));
    }
    if is_core_module(bytes) {
        return componentize(bytes).map(Cow::Owned);
    }
    Err("it is not a WebAssembly component".into())
}

fn componentize(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let refused = |text: String| format!("cannot make a component of this core module: {text}");
    let (described, _) = wit_component::metadata::decode(bytes).map_err(|error| refused(format!("{error:#}")))?;
    let module = if described.is_some() { Cow::Borrowed(bytes) } else { Cow::Owned(described_by_exports(bytes)?) };
    let encoder = ComponentEncoder::default().validate(true).module(&module);
    let encoder = if imports_preview_1(bytes) {
        let adapter = |encoder: ComponentEncoder| {
            encoder.adapter(WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER)
        };
        encoder.and_then(adapter)
    } else {
        encoder
    };
    encoder.and_then(|mut encoder| encoder.encode()).map_err(|error| refused(format!("{error:#}")))
}

/// Does a module say anywhere that it wants WASI preview 1? An adapter too many does no harm: what is not imported of
/// it is left out.
fn imports_preview_1(bytes: &[u8]) -> bool {
    memmem::find(bytes, WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME.as_bytes()).is_some()
}

/// Go's linker takes no description of a world along, but what a module exports has the names of the contract: they say
/// which world it is. That all it needs is there is checked when it is made a component.
fn described_by_exports(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let exports = |interface: &str, function: &str| {
        let name = format!("{}/{interface}@{}#{function}", bindings::PACKAGE, bindings::VERSION);
        memmem::find(bytes, name.as_bytes()).is_some()
    };
    let world = if exports("state-migration", "migrate") {
        "full-rule"
    } else if exports("config-check", "check") {
        "checked-rule"
    } else if exports("evaluator", "evaluate") {
        "rule"
    } else {
        let other = memmem::find(bytes, format!("{}/evaluator@", bindings::PACKAGE).as_bytes()).is_some();
        return Err(if other {
            format!(
                "it is a core module for another version of the contract; this agent has {}: build the rule again with the \
                 rule.wit or the SDK of that version",
                bindings::VERSION
            )
        } else {
            "it is a core module, and neither says which world it is for nor exports what rules do; make a component of \
             it with `wasm-tools component embed` and `wasm-tools component new`"
                .to_owned()
        });
    };
    let ours = |error: anyhow::Error| format!("the agent cannot read its own contract, which is a bug: {error:#}");
    let mut resolve = Resolve::default();
    let package = resolve.push_str("rule.wit", CONTRACT).map_err(ours)?;
    let world = resolve.select_world(&[package], Some(world)).map_err(ours)?;
    let mut module = bytes.to_vec();
    wit_component::embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).map_err(ours)?;
    Ok(module)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::world;

    fn guest() -> String {
        std::fs::read_to_string("tests/data/guests/alert.wat").unwrap()
    }

    fn made_of(text: &str) -> Result<world::World, String> {
        let module = wat::parse_str(text).unwrap();
        assert!(is_core_module(&module));
        component(&module).and_then(|component| world::read(&component))
    }

    #[test]
    fn a_module_without_a_description_is_told_by_what_it_exports() {
        let evaluator = format!("{}/evaluator@{}", bindings::PACKAGE, bindings::VERSION);
        assert_eq!(made_of(&guest()).unwrap().exports, [evaluator]);
        let other = guest().replace(bindings::VERSION, "0.0.9");
        assert!(made_of(&other).unwrap_err().contains("another version of the contract"));
        let lacks = guest().replace("cabi_realloc", "something_else");
        assert!(made_of(&lacks).unwrap_err().contains("cannot make a component"));
        assert!(made_of("(module)").unwrap_err().contains("neither says which world"));
    }

    #[test]
    fn a_module_for_preview_1_gets_the_adapter() {
        let import = "(module (import \"wasi_snapshot_preview1\" \"random_get\" (func (param i32 i32) (result i32)))";
        let imports = made_of(&guest().replacen("(module", import, 1)).unwrap().imports;
        assert!(imports.iter().any(|name| name.starts_with("wasi:random/random@0.2.")), "{imports:?}");
        let unknown = import.replace("random_get", "no_such_function");
        assert!(made_of(&guest().replacen("(module", &unknown, 1)).is_err());
    }
}
