//! The checked-in bindings were generated from wit/rule.wit as it is now: types and functions are compared, comments are not.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "this file is tests")]

use wit_component::{StringEncoding, WitPrinter};
use wit_parser::Resolve;

/// Worlds, and the bindings that are generated for them; one is made by the script `generate`.
const CHECKED: (&str, &str) = ("checked-rule", include_str!("../src/bindings.rs"));
const MIGRATION: (&str, &str) = ("migration", include_str!("../src/migration_bindings.rs"));

#[test]
fn bindings_match_the_contract() {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_path(concat!(env!("CARGO_MANIFEST_DIR"), "/wit")).unwrap();
    let version = resolve.packages[package].name.version.as_ref().unwrap();
    let migration =
        format!("package brokerwarden:sdk; world migration {{ export brokerwarden:rule/state-migration@{version}; }}");
    let migration = resolve.push_str("migration.wit", &migration).unwrap();
    for (package, (world, bindings)) in [(package, CHECKED), (migration, MIGRATION)] {
        let id = resolve.select_world(&[package], Some(world)).unwrap();
        // Encoded and decoded once, so that both sides lost the same (comments, the other worlds).
        let contract = wit_component::metadata::encode(&resolve, id, StringEncoding::UTF8, None).unwrap();
        let bindings = embedded_world(world, bindings);
        assert_eq!(text(&bindings), text(&contract), "the bindings are stale: README.md says how to generate them");
    }
}

/// The component type that the `export!` macro embeds into each rule, as bytes.
fn embedded_world(world: &str, source: &str) -> Vec<u8> {
    let section = format!("{world}:imports and exports");
    let (_, rest) = source.split_once(&section).expect("the macro embeds the world's type");
    let (_, rest) = rest.split_once("b\"").expect("as a byte string");
    let mut bytes = Vec::new();
    let mut rest = rest.bytes();
    loop {
        match rest.next().expect("the byte string ends") {
            b'"' => return bytes,
            b'\\' => match rest.next().unwrap() {
                b'\n' => {}
                b'0' => bytes.push(0),
                b't' => bytes.push(b'\t'),
                b'n' => bytes.push(b'\n'),
                b'r' => bytes.push(b'\r'),
                b'x' => {
                    let digits = [rest.next().unwrap(), rest.next().unwrap()];
                    bytes.push(u8::from_str_radix(str::from_utf8(&digits).unwrap(), 16).unwrap());
                }
                itself => bytes.push(itself),
            },
            plain => bytes.push(plain),
        }
    }
}

/// The world and all that it uses, as WIT. The section is read by way of a module that has nothing else.
fn text(section: &[u8]) -> String {
    let mut module = b"\0asm\x01\0\0\0".to_vec();
    let name = b"component-type";
    module.push(0);
    push_leb128(&mut module, 1 + name.len() + section.len());
    push_leb128(&mut module, name.len());
    module.extend_from_slice(name);
    module.extend_from_slice(section);

    let (_, found) = wit_component::metadata::decode(&module).unwrap();
    let resolve = found.resolve;
    let mut packages: Vec<_> = resolve.packages.iter().map(|(id, _)| id).collect();
    let package = packages.remove(0);
    let mut printer = WitPrinter::default();
    printer.print(&resolve, package, &packages).unwrap();
    printer.output.to_string()
}

/// A length as WebAssembly writes it.
fn push_leb128(out: &mut Vec<u8>, mut value: usize) {
    while value >= 0x80 {
        out.push(u8::try_from(value & 0x7f).unwrap() | 0x80);
        value >>= 7;
    }
    out.push(u8::try_from(value).unwrap());
}
