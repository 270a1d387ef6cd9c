//! Rules for tests that do harm in every way that was thought of, one row each. A rule that is bad from its first call on
//! is refused when it is loaded, so these behave until the first target is up: a test chooses the moment.

use super::bombs;
use std::fmt::Write as _;
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// The contract that rules are written against.
const CONTRACT: &str = include_str!("../../guest-sdk/wit/rule.wit");

/// What these rules use of WASI, in the version that most toolchains were built with; and worlds that export more.
const WORLDS: &str = r"
package brokerwarden:tests;
interface things { resource thing {} }
world guest {
    include brokerwarden:rule/rule@VERSION;
    import wasi:clocks/monotonic-clock@0.2.0;
    import wasi:io/poll@0.2.0;
    import wasi:io/streams@0.2.0;
    import wasi:cli/stderr@0.2.0;
    import wasi:cli/exit@0.2.0;
    import wasi:random/random@0.2.0;
}
world checked { include guest; export brokerwarden:rule/config-check@VERSION; }
world dropper { include guest; export things; }
package wasi:io@0.2.0 {
    interface error { resource error; }
    interface poll {
        resource pollable { ready: func() -> bool; block: func(); }
        poll: func(in: list<borrow<pollable>>) -> list<u32>;
    }
    interface streams {
        use error.{error};
        variant stream-error { last-operation-failed(error), closed }
        resource output-stream {
            write-zeroes: func(len: u64) -> result<_, stream-error>;
            blocking-write-and-flush: func(contents: list<u8>) -> result<_, stream-error>;
        }
    }
}
package wasi:clocks@0.2.0 {
    interface monotonic-clock {
        use wasi:io/poll@0.2.0.{pollable};
        subscribe-duration: func(when: u64) -> pollable;
    }
}
package wasi:cli@0.2.0 {
    interface stderr {
        use wasi:io/streams@0.2.0.{output-stream};
        get-stderr: func() -> output-stream;
    }
    interface exit { exit: func(status: result); }
}
package wasi:random@0.2.0 {
    interface random { get-random-bytes: func(len: u64) -> list<u8>; }
}
";

/// What must become of a rule once the first target is up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Its evaluation fails: the reason as it is counted, and words of the explanation.
    Fails(&'static str, &'static str),
    /// It does what it may, and its outcome counts.
    Holds,
    /// It is never live: words of the refusal. The reason of a failed dry run is among them.
    Refused(&'static str),
}

/// One way to do harm.
pub(crate) struct Attack {
    pub(crate) name: &'static str,
    pub(crate) end: End,
    /// The file that its author puts into `rules_dir`.
    pub(crate) module: Vec<u8>,
}

/// What differs between the guests.
#[derive(Default)]
struct Guest {
    world: Option<&'static str>,
    imports: &'static str,
    /// Functions, globals, tables, data.
    fields: String,
    /// What happens once the first target is up, before the alert is returned.
    up: String,
    /// Begins `cabi_realloc` once the global `$bad` is set.
    realloc: &'static str,
    /// Begins the function that frees what was returned, likewise.
    after: &'static str,
}

impl Guest {
    fn doing(up: &str) -> Self {
        Self { up: up.to_owned(), ..Self::default() }
    }

    fn with(up: &str, imports: &'static str) -> Self {
        Self { imports, ..Self::doing(up) }
    }

    fn component(&self) -> Vec<u8> {
        component(&self.text(), self.world.unwrap_or("guest"))
    }

    /// Memory: 16 name, 1024 answers, 2048 outcome, 2112 alert, 3000 to 4095 what a guest puts there, 65536 to 131071
    /// zeros, then what the host hands over.
    fn text(&self) -> String {
        let Self { imports, fields, up, realloc, after, .. } = self;
        // result<outcome, failure>: ok; one alert; no actions; no measurements (any aligned pointer).
        let outcome = data(2048, &[0, 2112, 1, 8, 0, 8, 0]);
        // subject (agent, padding), name, labels, annotations, padding, value (none).
        let raised = data(2112, &[3, 0, 0, 16, 6, 8, 0, 8, 0, 0, 0, 0, 0, 0]);
        let text = format!(
            r#"(module
  (import "brokerwarden:rule/snapshot@VERSION" "targets" (func $targets (param i32)))
  {imports}
  (memory (export "memory") 3)
  (data (i32.const 16) "Always") {outcome} {raised}
  (global $heap (mut i32) (i32.const 131072))
  (global $bad (mut i32) (i32.const 0))
  {fields}
  (func (export "cabi_realloc") (param i32 i32 i32) (param $size i32) (result i32) (local $at i32)
    (if (global.get $bad) (then {realloc}))
    (local.set $at (i32.and (i32.add (global.get $heap) (i32.const 7)) (i32.const -8)))
    (global.set $heap (i32.add (local.get $at) (local.get $size)))
    (if (i32.gt_u (global.get $heap) (i32.mul (memory.size) (i32.const 65536))) (then
      (drop (memory.grow (i32.add (i32.shr_u (local.get $size) (i32.const 16)) (i32.const 1))))))
    (local.get $at))
  (func $up (result i32)
    (call $targets (i32.const 1024))
    (if (result i32) (i32.load (i32.const 1028))
      (then (i32.load8_u offset=8 (i32.load (i32.const 1024))))
      (else (i32.const 0))))
  (func (export "brokerwarden:rule/evaluator@VERSION#evaluate")
    (param $now i64) (param i64 i32 i32 i32 i32 i32) (param $config_length i32) (result i32) (local $at i32) (local $n i32)
    (if (call $up) (then {up}))
    (i32.const 2048))
  (func (export "cabi_post_brokerwarden:rule/evaluator@VERSION#evaluate") (param i32)
    (if (global.get $bad) (then {after}))))"#
        );
        text.replace("VERSION", version())
    }
}

/// Version of the contract.
pub(crate) fn version() -> &'static str {
    let line = CONTRACT.lines().find_map(|line| line.strip_prefix("package brokerwarden:rule@")).unwrap();
    line.trim_end().trim_end_matches(';')
}

/// Words of four bytes as a data segment.
fn data(at: u32, words: &[u32]) -> String {
    let mut text = format!("(data (i32.const {at}) \"");
    for byte in words.iter().flat_map(|word| word.to_le_bytes()) {
        write!(text, "\\{byte:02x}").unwrap();
    }
    text + "\")"
}

/// A component of that world from the text of a core module.
pub(crate) fn component(text: &str, world: &str) -> Vec<u8> {
    let mut module = wat::parse_str(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    let mut resolve = Resolve::default();
    resolve.push_str("rule.wit", CONTRACT).unwrap();
    let package = resolve.push_str("tests.wit", &WORLDS.replace("VERSION", version())).unwrap();
    let world = resolve.select_world(&[package], Some(world)).unwrap();
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
    ComponentEncoder::default().module(&module).unwrap().validate(true).encode().unwrap()
}

const LOOP: &str = "(loop $again (br $again))";
const LOG: &str = r#"(import "brokerwarden:rule/logging@VERSION" "log" (func $log (param i32 i32 i32)))"#;
const SET: &str = r#"(import "brokerwarden:rule/state@VERSION" "set" (func $set (param i32 i32 i32 i32 i32)))"#;
const STATE: &str = r#"(import "brokerwarden:rule/state@VERSION" "set" (func $set (param i32 i32 i32 i32 i32)))
  (import "brokerwarden:rule/state@VERSION" "keys" (func $keys (param i32 i32 i32)))"#;
const OWNS: &str = r#"(import "brokerwarden:rule/snapshot@VERSION" "owns" (func $owns (param i32 i32) (result i32)))"#;
const QUERY: &str = r#"(import "brokerwarden:rule/snapshot@VERSION" "query" (func $query (param i32 i32 i32)))"#;
const LAGS: &str = r#"(import "brokerwarden:rule/snapshot@VERSION" "topic-lags"
    (func $lags (param i32 i32 i32 i32 i32 i64 i32 i32 i32)))"#;
const POLL: &str = r#"(import "wasi:clocks/monotonic-clock@0.2.0" "subscribe-duration"
    (func $subscribe (param i64) (result i32)))
  (import "wasi:io/poll@0.2.0" "[method]pollable.ready" (func $ready (param i32) (result i32)))
  (import "wasi:io/poll@0.2.0" "[method]pollable.block" (func $block (param i32)))
  (import "wasi:io/poll@0.2.0" "poll" (func $poll (param i32 i32 i32)))"#;
const STDERR: &str = r#"(import "wasi:cli/stderr@0.2.0" "get-stderr" (func $stderr (result i32)))
  (import "wasi:io/streams@0.2.0" "[method]output-stream.write-zeroes" (func $zeroes (param i32 i64 i32)))
  (import "wasi:io/streams@0.2.0" "[method]output-stream.blocking-write-and-flush"
    (func $print (param i32 i32 i32 i32)))"#;
const EXIT: &str = r#"(import "wasi:cli/exit@0.2.0" "exit" (func $exit (param i32)))"#;
const RANDOM: &str = r#"(import "wasi:random/random@0.2.0" "get-random-bytes" (func $random (param i64 i32)))"#;
const CHECK: &str = r#"(func (export "brokerwarden:rule/config-check@VERSION#check") (param i32 i32) (result i32)
    (loop $again (br $again)) unreachable)"#;
const THING: &str = r#"(import "[export]brokerwarden:tests/things" "[resource-new]thing" (func $new (param i32) (result i32)))
  (import "[export]brokerwarden:tests/things" "[resource-drop]thing" (func $drop (param i32)))"#;
const THING_DROPPED: &str =
    r#"(func (export "brokerwarden:tests/things#[dtor]thing") (param i32) (loop $again (br $again)))"#;

/// Returns a list of that many alerts or measurements, each a copy of the one at 2112 or 3000.
fn many(count: u32, size: u32, from: u32, list: u32) -> String {
    let bytes = count * size;
    format!(
        "(drop (memory.grow (i32.const {pages})))
         (local.set $at (i32.const 131072))
         (loop $more
           (memory.copy (local.get $at) (i32.const {from}) (i32.const {size}))
           (local.set $at (i32.add (local.get $at) (i32.const {size})))
           (br_if $more (i32.lt_u (local.get $at) (i32.const {end}))))
         (i32.store (i32.const {list}) (i32.const 131072))
         (i32.store (i32.const {length}) (i32.const {count}))",
        pages = bytes / 65_536 + 2,
        end = 131_072 + bytes,
        length = list + 4,
    )
}

/// Where the outcome's lists are.
const ALERTS: u32 = 2052;
const MEASUREMENTS: u32 = 2068;

/// A thousand alerts, each with a label that no evaluation had before.
const EXPLODING: &str = "
  (drop (memory.grow (i32.const 4)))
  (local.set $at (i32.const 131072))
  (loop $more
    (memory.copy (local.get $at) (i32.const 2112) (i32.const 56))
    ;; One label, at 262144 + 32 n: its name is the first letter of the text at 16, its value the 12 bytes behind it.
    (i32.store offset=20 (local.get $at) (i32.add (i32.const 262144) (i32.mul (local.get $n) (i32.const 32))))
    (i32.store offset=24 (local.get $at) (i32.const 1))
    (call $label (i32.add (i32.const 262144) (i32.mul (local.get $n) (i32.const 32)))
      (i64.add (i64.mul (local.get $now) (i64.const 1000)) (i64.extend_i32_u (local.get $n))))
    (local.set $at (i32.add (local.get $at) (i32.const 56)))
    (local.set $n (i32.add (local.get $n) (i32.const 1)))
    (br_if $more (i32.lt_u (local.get $n) (i32.const 1000))))
  (i32.store (i32.const 2052) (i32.const 131072))
  (i32.store (i32.const 2056) (i32.const 1000))";
const LABEL: &str = "
  (func $label (param $at i32) (param $number i64) (local $n i32)
    (i32.store (local.get $at) (i32.const 16)) (i32.store offset=4 (local.get $at) (i32.const 1))
    (i32.store offset=8 (local.get $at) (i32.add (local.get $at) (i32.const 16)))
    (i32.store offset=12 (local.get $at) (i32.const 16))
    (loop $digit
      (i32.store8 offset=16 (i32.add (local.get $at) (local.get $n))
        (i32.add (i32.const 97) (i32.wrap_i64 (i64.and (local.get $number) (i64.const 15)))))
      (local.set $number (i64.shr_u (local.get $number) (i64.const 4)))
      (local.set $n (i32.add (local.get $n) (i32.const 1)))
      (br_if $digit (i32.lt_u (local.get $n) (i32.const 16)))))";

/// Fails with what the host said about the last call, whose answer is at 1024.
const FAIL_WITH_ANSWER: &str = "
  (if (i32.load8_u (i32.const 1024)) (then
    (i32.store8 (i32.const 2048) (i32.const 1)) (i32.store8 (i32.const 2052) (i32.const 1))
    (i32.store (i32.const 2056) (i32.load (i32.const 1032))) (i32.store (i32.const 2060) (i32.load (i32.const 1036)))))";

/// Bytes of the state's one value that fit beside a key of one byte, by default.
const STATE_ROOM: u32 = (1 << 20) - 64 - 1;

/// 95 of 100 of every limit at once, but for time, of which a shared machine takes more now than then: 9,500 calls, 60 MiB, 950 alerts, 62 KB of log, 0.95 MiB of state.
fn at_95_percent() -> String {
    let alerts = EXPLODING
        .replace("(i32.const 1000)", "(i32.const 950)")
        .replace("memory.grow (i32.const 4)", "memory.grow (i32.const 960)");
    format!(
        "(loop $calls
           (drop (call $owns (i32.const 16) (i32.const 6)))
           (local.set $n (i32.add (local.get $n) (i32.const 1)))
           (br_if $calls (i32.lt_u (local.get $n) (i32.const 9480))))
         (local.set $n (i32.const 0))
         (loop $lines
           (call $log (i32.const 1) (i32.const 65536) (i32.const 4000))
           (local.set $n (i32.add (local.get $n) (i32.const 1)))
           (br_if $lines (i32.lt_u (local.get $n) (i32.const 15))))
         (local.set $n (i32.const 0))
         {alerts}
         (memory.fill (i32.const 1000000) (i32.const 1) (i32.const 60000000))
         (call $set (i32.const 16) (i32.const 1) (i32.const 1000000) (i32.const 996147) (i32.const 1024))"
    )
}

const AT_95_PERCENT: &str = r#"(import "brokerwarden:rule/snapshot@VERSION" "owns" (func $owns (param i32 i32) (result i32)))
  (import "brokerwarden:rule/logging@VERSION" "log" (func $log (param i32 i32 i32)))
  (import "brokerwarden:rule/state@VERSION" "set" (func $set (param i32 i32 i32 i32 i32)))"#;

/// The text as a data segment, with a list of so many patterns behind it that all name it as a regular expression.
fn patterns(text: &str, count: usize) -> String {
    let length = u32::try_from(text.len()).unwrap();
    let list: Vec<u32> = (0..count).flat_map(|_| [2, 3000, length]).collect();
    format!("(data (i32.const 3000) \"{}\") {}", text.replace('\\', "\\\\"), data(3400, &list))
}

fn repeated(call: &str) -> String {
    format!("(loop $again {call} (br $again))")
}

/// All attacks that need no compiler's patience; [`bombs`] are those that do.
pub(crate) fn attacks() -> Vec<Attack> {
    use End::{Fails, Holds, Refused};
    let mut attacks = Vec::new();
    let mut add = |name: &'static str, end: End, guest: Guest| {
        attacks.push(Attack { name, end, module: guest.component() });
    };
    let bad = |guest: Guest| Guest { up: format!("(global.set $bad (i32.const 1)) {}", guest.up), ..guest };
    let fields = |up: &str, fields: &str| Guest { fields: fields.to_owned(), ..Guest::doing(up) };

    // Loops in every export, in the start function and in drop.
    add("loop-evaluate", Fails("time", "100ms of CPU time"), Guest::doing(LOOP));
    add(
        "loop-fill",
        Fails("time", "CPU time"),
        Guest::doing(
            "(drop (memory.grow (i32.const 900)))
         (loop $again (memory.fill (i32.const 131072) (i32.const 7) (i32.const 58000000)) (br $again))",
        ),
    );
    add("loop-start", Refused("(time)"), fields("", &format!("(func $spin {LOOP}) (start $spin)")));
    add(
        "loop-realloc",
        Fails("time", "CPU time"),
        bad(Guest { realloc: LOOP, ..Guest::doing("(call $targets (i32.const 1024))") }),
    );
    add("loop-free", Fails("time", "CPU time"), bad(Guest { after: LOOP, ..Guest::default() }));
    add("loop-check", Refused("CPU time"), Guest { world: Some("checked"), ..fields("", CHECK) });
    add(
        "loop-drop",
        Fails("time", "CPU time"),
        Guest {
            world: Some("dropper"),
            imports: THING,
            ..fields("(call $drop (call $new (i32.const 1)))", THING_DROPPED)
        },
    );

    // Allocation.
    add(
        "memory",
        Fails("memory", "64 MiB"),
        Guest::doing("(loop $more (br_if $more (i32.ge_s (memory.grow (i32.const 64)) (i32.const 0)))) unreachable"),
    );
    add(
        "memory-at-once",
        Fails("memory", "64 MiB"),
        Guest::doing("(if (i32.lt_s (memory.grow (i32.const 65000)) (i32.const 0)) (then unreachable))"),
    );
    add(
        "table",
        Fails("trap", "unreachable"),
        fields(
            "(loop $more (br_if $more (i32.ge_s (table.grow $t (ref.null func) (i32.const 1000)) (i32.const 0)))) unreachable",
            "(table $t 1 funcref)",
        ),
    );
    add("handles", Fails("output", ""), Guest::with(&repeated("(drop (call $stderr))"), STDERR));

    // Stack.
    add(
        "recursion",
        Fails("stack", "call stack exhausted"),
        fields(
            "(drop (call $deep (i32.const 0)))",
            "(func $deep (param i32) (result i32) (i32.add (call $deep (local.get 0)) (i32.const 1)))",
        ),
    );

    // Traps and ends of other kinds.
    add("trap", Fails("trap", "unreachable"), Guest::doing("unreachable"));
    add("exit", Fails("trap", ""), Guest::with("(call $exit (i32.const 0))", EXIT));

    // Results.
    add("result-1-gb", Fails("output", ""), Guest::doing("(i32.store (i32.const 2128) (i32.const 0x40000000))"));
    add(
        "result-60-mb",
        Fails("output", "1048576 bytes in one call"),
        Guest::doing(
            "(drop (memory.grow (i32.const 950)))
         (memory.fill (i32.const 131072) (i32.const 120) (i32.const 62000000))
         (i32.store (i32.const 2124) (i32.const 131072)) (i32.store (i32.const 2128) (i32.const 62000000))",
        ),
    );
    add("rows-10-million", Fails("output", ""), Guest::doing("(i32.store (i32.const 2056) (i32.const 10000000))"));
    add("rows-million", Fails("output", "1048576 bytes in one call"), Guest::doing(&many(1_000_000, 56, 2112, ALERTS)));
    add(
        "measurements-million",
        Fails("output", "1048576 bytes in one call"),
        fields(&many(1_000_000, 40, 3000, MEASUREMENTS), &data(3000, &[3, 0, 0, 16, 6, 8, 0, 0, 0, 0])),
    );
    add(
        "alerts-over-limit",
        Fails("output", "1001 alerts, 1000 allowed"),
        Guest::doing(&EXPLODING.replace("(i32.const 1000)", "(i32.const 1001)")).and(LABEL),
    );
    add("alerts-twice", Fails("output", "two alerts"), Guest::doing(&many(2, 56, 2112, ALERTS)));
    add("bad-utf8", Fails("output", "utf-8"), Guest::doing("(i32.store8 (i32.const 16) (i32.const 255))"));
    add(
        "bad-discriminant",
        Fails("output", "discriminant"),
        Guest::doing("(i32.store8 (i32.const 2112) (i32.const 9))"),
    );
    add("misaligned-list", Fails("output", "aligned"), Guest::doing("(i32.store (i32.const 2052) (i32.const 2113))"));
    add("misaligned-result", Fails("output", "aligned"), Guest::doing("(return (i32.const 2049))"));
    add("past-the-end", Fails("output", ""), Guest::doing("(return (i32.const 0x7ffffff0))"));
    add(
        "past-the-end-by-one",
        Fails("output", ""),
        Guest::doing("(i32.store (i32.const 2124) (i32.const 196603)) (i32.store (i32.const 2128) (i32.const 6))"),
    );
    add(
        "nan",
        Holds,
        fields(
            "(i32.store8 (i32.const 2152) (i32.const 1)) (i64.store (i32.const 2160) (i64.const -1))
         (i32.store (i32.const 2068) (i32.const 3000)) (i32.store (i32.const 2072) (i32.const 1))",
            &(data(3000, &[3, 0, 0, 16, 6, 8, 0, 0]) + &data(3032, &[0xffff_ffff, 0x7ff0_1234])),
        ),
    );
    add(
        "escapes",
        Holds,
        Guest::with(
            "(i32.store (i32.const 2140) (i32.const 3000)) (i32.store (i32.const 2144) (i32.const 1))
         (call $log (i32.const 3) (i32.const 3020) (i32.const 20))",
            LOG,
        )
        .and(&(data(3000, &[16, 6, 3020, 20]) + r#"(data (i32.const 3020) "\1b[2J\1b]0;owned\07\0aERROR")"#)),
    );

    // A realloc that lies.
    let lies = "(call $targets (i32.const 1024))";
    add(
        "realloc-outside",
        Fails("output", ""),
        bad(Guest { realloc: "(return (i32.const 0xfffffff0))", ..Guest::doing(lies) }),
    );
    add(
        "realloc-misaligned",
        Fails("output", "aligned"),
        bad(Guest { realloc: "(return (i32.const 4097))", ..Guest::doing(lies) }),
    );
    add("realloc-traps", Fails("trap", "unreachable"), bad(Guest { realloc: "unreachable", ..Guest::doing(lies) }));
    add(
        "realloc-calls-out",
        Fails("trap", "leave"),
        bad(Guest { realloc: "(call $log (i32.const 0) (i32.const 16) (i32.const 6))", ..Guest::with(lies, LOG) }),
    );
    add("realloc-overlaps", Holds, bad(Guest { realloc: "(return (i32.const 3000))", ..Guest::doing(lies) }));

    // Host calls.
    add(
        "calls-100000",
        Fails("host_calls", "10000 host calls"),
        Guest::with(
            "(loop $more
           (drop (call $owns (i32.const 16) (i32.const 6)))
           (local.set $n (i32.add (local.get $n) (i32.const 1)))
           (br_if $more (i32.lt_u (local.get $n) (i32.const 100000))))",
            OWNS,
        ),
    );
    add(
        "argument-2-mb",
        Fails("output", "1048576 bytes in one call"),
        Guest::with(
            "(drop (memory.grow (i32.const 40)))
         (memory.fill (i32.const 131072) (i32.const 120) (i32.const 0x200000))
         (drop (call $owns (i32.const 131072) (i32.const 0x200000)))",
            OWNS,
        ),
    );
    add(
        "arguments-40-mb",
        Fails("host_calls", "10000 host calls"),
        Guest::with(&repeated("(drop (call $owns (i32.const 65536) (i32.const 0x1000)))"), OWNS),
    );
    // Log.
    add(
        "log-flood",
        Holds,
        Guest::with(
            "(loop $more
           (call $log (i32.const 2) (i32.const 65536) (i32.const 60000))
           (local.set $n (i32.add (local.get $n) (i32.const 1)))
           (br_if $more (i32.lt_u (local.get $n) (i32.const 1000))))",
            LOG,
        ),
    );
    add(
        "log-lines",
        Holds,
        Guest::with(
            "(drop (memory.grow (i32.const 20)))
         (loop $fill
           (i32.store16 (i32.add (i32.const 131072) (local.get $at)) (i32.const 0x0a61))
           (local.set $at (i32.add (local.get $at) (i32.const 2)))
           (br_if $fill (i32.lt_u (local.get $at) (i32.const 1000000))))
         (call $print (call $stderr) (i32.const 131072) (i32.const 4096) (i32.const 1024))
         (loop $more
           (call $print (call $stderr) (i32.const 131072) (i32.const 4096) (i32.const 1024))
           (local.set $n (i32.add (local.get $n) (i32.const 1)))
           (br_if $more (i32.lt_u (local.get $n) (i32.const 50))))",
            STDERR,
        ),
    );
    add(
        "print-zeroes",
        Fails("output", ""),
        Guest::with("(call $zeroes (call $stderr) (i64.const 0x10000000000) (i32.const 1024))", STDERR),
    );

    // Patterns.
    let filter =
        "(call $lags (i32.const 3400) (i32.const 16) (i32.const 3400) (i32.const 16) (i32.const 0) (i64.const 0)
       (i32.const 0) (i32.const 0) (i32.const 1024))";
    add(
        "regex-bomb",
        Fails("time", "CPU time"),
        Guest::with(&repeated(filter), LAGS).and(&patterns(r"(?i)\w{19}", 16)),
    );
    add(
        "regex-too-many",
        Fails("error", "more than 16 regular expressions"),
        Guest::with(&(filter.replace("(i32.const 16)", "(i32.const 17)") + FAIL_WITH_ANSWER), LAGS)
            .and(&patterns("a", 17)),
    );
    let selector = format!("{{{}}}", vec![r"a=~'(?i)\\w{40}'"; 30].join(","));
    add(
        "selector-bomb",
        Fails("time", "CPU time"),
        Guest::with(
            &repeated(&format!("(call $query (i32.const 3000) (i32.const {}) (i32.const 1024))", selector.len())),
            QUERY,
        )
        .and(&format!("(data (i32.const 3000) \"{}\")", selector.replace('\\', "\\\\"))),
    );

    // Waiting.
    add(
        "sleep-block",
        Fails("sleep", "may not sleep"),
        Guest::with("(call $block (call $subscribe (i64.const 3600000000000)))", POLL),
    );
    add(
        "sleep-poll",
        Fails("sleep", "may not sleep"),
        Guest::with(
            "(i32.store (i32.const 3000) (call $subscribe (i64.const 3600000000000)))
         (call $poll (i32.const 3000) (i32.const 1) (i32.const 1024))",
            POLL,
        ),
    );
    add(
        "sleep-spin",
        Fails("sleep", "may not sleep"),
        Guest::with(
            "(local.set $at (call $subscribe (i64.const 3600000000000)))
         (loop $again (br_if $again (i32.eqz (call $ready (local.get $at)))))",
            POLL,
        ),
    );
    add(
        "random-for-ever",
        Fails("time", "CPU time"),
        Guest::with(
            &repeated("(global.set $heap (i32.const 131072)) (call $random (i64.const 60000) (i32.const 1024))"),
            RANDOM,
        ),
    );
    add(
        "random-1-tb",
        Fails("output", ""),
        Guest::with("(call $random (i64.const 0x10000000000) (i32.const 1024))", RANDOM),
    );

    // State.
    let set = |length: u32| {
        format!(
        "(drop (memory.grow (i32.const 20)))
         (call $set (i32.const 16) (i32.const 1) (i32.const 131072) (i32.const {length}) (i32.const 1024)) {FAIL_WITH_ANSWER}"
    )
    };
    add("state-full", Holds, Guest::with(&set(STATE_ROOM), SET));
    add(
        "state-one-byte-more",
        Fails("error", "state would be over 1048576 bytes"),
        Guest::with(&set(STATE_ROOM + 1), SET),
    );
    add("state-keys", Fails("time", ""), Guest::with(
        "(drop (memory.grow (i32.const 100)))
         (loop $more
           (i32.store (i32.const 3000) (i32.add (i32.const 0x30303030) (i32.and (local.get $n) (i32.const 0x0f0f0f0f))))
           (i32.store (i32.const 3004) (i32.or (i32.const 0x30303030) (i32.and (i32.shr_u (local.get $n) (i32.const 4)) (i32.const 0x0f0f0f0f))))
           (call $set (i32.const 3000) (i32.const 8) (i32.const 16) (i32.const 0) (i32.const 1024))
           (local.set $n (i32.add (local.get $n) (i32.const 1)))
           (br_if $more (i32.lt_u (local.get $n) (i32.const 5000))))
         (loop $again
           (global.set $heap (i32.const 131072))
           (call $keys (i32.const 16) (i32.const 0) (i32.const 1024)) (br $again))",
        STATE,
    ));

    // As much as is allowed, for ever.
    add("label-explosion", Holds, Guest::doing(EXPLODING).and(LABEL));
    add("at-95-percent", Holds, Guest::with(&at_95_percent(), AT_95_PERCENT).and(LABEL));

    // More instances, memories and levels than there may be; and an instantiation that is work.
    let calm = Guest::default().component();
    let beside = |module: &str, count: usize| bombs::beside(&calm, &wat::parse_str(module).unwrap(), count);
    for (name, end, module) in [
        ("many-instances", Refused("instances"), beside("(module)", 500)),
        ("many-memories", Refused("memories"), beside("(module (memory 1))", 20)),
        ("many-tables", Refused("tables"), beside(&format!("(module {})", "(table 1 funcref)".repeat(70)), 1)),
        ("memory-of-others", Refused("(memory)"), beside("(module (memory 400))", 4)),
        ("memory-4-gib", Refused("memor"), beside("(module (memory 65536))", 1)),
        ("table-10-million", Refused("table"), beside("(module (table 10000000 funcref))", 1)),
        ("nesting", Holds, bombs::nested(&calm, 2_000)),
        ("segments", Holds, bombs::segments(&calm, 8_000, 40)),
    ] {
        attacks.push(Attack { name, end, module });
    }
    attacks
}

impl Guest {
    /// With these fields more.
    fn and(mut self, fields: &str) -> Self {
        self.fields += fields;
        self
    }
}
