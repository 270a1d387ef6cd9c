//! Rules for tests, made from WAT: a good one, and one for each way to be bad. A rule that is bad from its first call on
//! is refused when it is loaded, so these behave until the agent's first target is up: a test chooses the moment.

use std::fmt::Write as _;
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// The contract that rules are written against.
const CONTRACT: &str = include_str!("../../guest-sdk/wit/rule.wit");

/// What a rule does once the agent's first target is up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing bad.
    None,
    Trap,
    EndlessLoop,
    MemoryGrowth,
    DeepRecursion,
    /// Returns 100,000 alerts.
    HugeOutput,
    /// Returns a list that reaches beyond its memory.
    OutputOutOfBounds,
    /// Returns a name that is not UTF-8.
    OutputNotUtf8,
    /// Logs 60 MB, then answers as it should.
    LogFlood,
}

impl Fault {
    fn code(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Trap => "unreachable",
            Self::EndlessLoop => "(loop $again (br $again))",
            Self::MemoryGrowth => {
                "(loop $more (br_if $more (i32.ne (memory.grow (i32.const 64)) (i32.const -1)))) unreachable"
            }
            Self::DeepRecursion => "(drop (call $deep (i32.const 0)))",
            Self::HugeOutput => {
                "(drop (memory.grow (i32.const 100)))
                 (local.set $at (i32.const 131072))
                 (loop $more
                   (memory.copy (local.get $at) (i32.const 2112) (i32.const 56))
                   (local.set $at (i32.add (local.get $at) (i32.const 56)))
                   (br_if $more (i32.lt_u (local.get $at) (i32.const 5731072))))
                 (i32.store (i32.const 2052) (i32.const 131072))
                 (i32.store (i32.const 2056) (i32.const 100000))"
            }
            Self::OutputOutOfBounds => "(i32.store (i32.const 2056) (i32.const 268435456))",
            Self::OutputNotUtf8 => "(i32.store8 (i32.const 16) (i32.const 255))",
            Self::LogFlood => {
                "(loop $more
                   (call $log (i32.const 2) (i32.const 65536) (i32.const 60000))
                   (local.set $at (i32.add (local.get $at) (i32.const 1)))
                   (br_if $more (i32.lt_u (local.get $at) (i32.const 1000))))"
            }
        }
    }
}

/// A component that always raises one alert of that name, about the agent; then `fault`, once the first target is up.
pub(crate) fn rule(alert: &str, fault: Fault) -> Vec<u8> {
    component(&with_metadata(&module(alert, fault.code(), "")))
}

/// A component that always raises one alert of that name, about the agent, and asks for an action with the parameter `who`
/// and the key `k`.
pub(crate) fn asking(alert: &str, action: &str, who: &str) -> Vec<u8> {
    let text = |at: u32, text: &str| format!("(data (i32.const {at}) \"{text}\")");
    let length = |text: &str| u32::try_from(text.len()).unwrap();
    // As `module` has it, but with one action; then subject (agent, padding), name, params, key; then the parameter.
    let outcome = data(2048, &[0, 2112, 1, 2176, 1, 8, 0]);
    let asked = data(2176, &[3, 0, 0, 256, length(action), 2240, 1, 448, 1]);
    let parameter = data(2240, &[320, 3, 384, length(who)]);
    let words = [text(256, action), text(320, "who"), text(384, who), text(448, "k")].concat();
    let module = module(alert, "", "");
    let own = data(2048, &[0, 2112, 1, 8, 0, 8, 0]);
    assert!(module.contains(&own), "its outcome is elsewhere");
    component(&with_metadata(&module.replace(&own, &format!("{outcome} {asked} {parameter} {words}"))))
}

/// [`rule`] without a fault, as the core module that a compiler without component tooling makes.
pub(crate) fn core_module(alert: &str) -> Vec<u8> {
    with_metadata(&module(alert, "", ""))
}

/// Counts its evaluations in its state, and raises an alert with the count: a core module that says which world it is for.
pub(crate) fn counter() -> Vec<u8> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/guests/counter.wat");
    let text = std::fs::read_to_string(path).unwrap();
    let trap = "(if (i32.wrap_i64 (i64.and (local.get $now) (i64.const 1))) (then unreachable))";
    assert!(text.contains(trap), "it does not trap any more");
    with_metadata(&text.replace(trap, ""))
}

/// The same as a component.
pub(crate) fn counting() -> Vec<u8> {
    component(&counter())
}

/// A component that traps in every evaluation.
pub(crate) fn trapping() -> Vec<u8> {
    component(&with_metadata(&module("Never", "", "unreachable")))
}

/// A component that never gets through its start function.
pub(crate) fn endless_start() -> Vec<u8> {
    let text = module("Never", "", "");
    let spin = "(func $spin (loop $again (br $again))) (start $spin)";
    component(&with_metadata(&format!("{} {spin})", text.trim_end().strip_suffix(')').unwrap())))
}

/// A valid component of another world.
pub(crate) fn other_world() -> Vec<u8> {
    wat::parse_str("(component)").unwrap()
}

/// A component that wants what the agent does not have.
pub(crate) fn missing_import() -> Vec<u8> {
    wat::parse_str(r#"(component (import "example:missing/thing" (func)))"#).unwrap()
}

/// The same rule with other bytes: a custom section more.
pub(crate) fn another_version(component: &[u8], version: u8) -> Vec<u8> {
    // Section 0, 9 bytes long: a name of seven bytes, then the version.
    let mut bytes = component.to_vec();
    bytes.extend([0, 9, 7]);
    bytes.extend(b"version");
    bytes.push(version);
    bytes
}

/// Memory: 16 name, 1024 answer of `targets`, 2048 outcome, 2112 alert, 4096 and up what the host hands over, 65536 and up
/// zeros.
fn module(alert: &str, when_up: &str, always: &str) -> String {
    let name_length = u32::try_from(alert.len()).unwrap();
    // result<outcome, failure>: ok; one alert; no actions; no measurements (any aligned pointer).
    let outcome = data(2048, &[0, 2112, 1, 8, 0, 8, 0]);
    // subject (agent, padding), name, labels, annotations, padding, value (none).
    let raised = data(2112, &[3, 0, 0, 16, name_length, 8, 0, 8, 0, 0, 0, 0, 0, 0]);
    format!(
        r#"(module
  (import "brokerwarden:rule/snapshot@0.1.0" "targets" (func $targets (param i32)))
  (import "brokerwarden:rule/logging@0.1.0" "log" (func $log (param i32 i32 i32)))
  (memory (export "memory") 2)
  (data (i32.const 16) "{alert}") {outcome} {raised}
  (global $heap (mut i32) (i32.const 4096))
  (func (export "cabi_realloc") (param i32 i32 i32) (param $size i32) (result i32) (local $at i32)
    (local.set $at (i32.and (i32.add (global.get $heap) (i32.const 7)) (i32.const -8)))
    (global.set $heap (i32.add (local.get $at) (local.get $size)))
    (local.get $at))
  (func $deep (param i32) (result i32) (i32.add (call $deep (local.get 0)) (i32.const 1)))
  (func $up (result i32)
    (call $targets (i32.const 1024))
    (if (result i32) (i32.load (i32.const 1028))
      (then (i32.load8_u offset=8 (i32.load (i32.const 1024))))
      (else (i32.const 0))))
  (func (export "brokerwarden:rule/evaluator@0.1.0#evaluate")
    (param i64 i64 i32 i32 i32 i32 i32 i32) (result i32) (local $at i32)
    {always}
    (if (call $up) (then {when_up}))
    (i32.const 2048)))"#
    )
}

fn data(at: u32, words: &[u32]) -> String {
    let mut text = format!("(data (i32.const {at}) \"");
    for byte in words.iter().flat_map(|word| word.to_le_bytes()) {
        write!(text, "\\{byte:02x}").unwrap();
    }
    text + "\")"
}

fn with_metadata(text: &str) -> Vec<u8> {
    let mut module = wat::parse_str(text).unwrap();
    let mut resolve = Resolve::default();
    let package = resolve.push_str("rule.wit", CONTRACT).unwrap();
    let world = resolve.select_world(&[package], Some("rule")).unwrap();
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
    module
}

fn component(module: &[u8]) -> Vec<u8> {
    ComponentEncoder::default().module(module).unwrap().validate(true).encode().unwrap()
}
