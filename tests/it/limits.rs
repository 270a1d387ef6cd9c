//! Every limit is in docs/limits.md with its number. Reads text, not syntax: a constant is a line that begins like one.

use crate::tidy::{is_test, root, sources};
use std::{collections::BTreeMap, fs};

/// Types of constants that are taken for limits, alone or in a `RangeInclusive`.
const NUMBERS: &[&str] = &["Duration", "i8", "i16", "i32", "i64", "isize", "u8", "u16", "u32", "u64", "usize"];

/// Constants of these types that are no limits, by why they need no row.
const NO_LIMITS: &[(&[&str], &str)] = &[
    (&["cli::EXIT_CHECK_FAILED", "cli::EXIT_OK", "cli::EXIT_RUNTIME", "cli::EXIT_USAGE"], "exit codes, in README.md"),
    (
        &[
            "app::reload::PORT_LOOK",
            "actions::program::LOOK",
            "actions::spawn::LOOK",
            "cli::demo::REDRAW",
            "control::record::LOOK",
            "kafka::admin::LOOK",
            "kafka::beside::LOOK",
            "kafka::checkpoint::LOOK",
            "kafka::ends::IDLE_LOOK",
            "kafka::questions::LOOK",
            "kafka::produce::IDLE_LOOK",
            "kafka::produce::LOOK",
            "kafka::reader::POLL",
            "rules::compile::POLL",
            "rules::engine::LOOK",
            "rules::offline::LOOK",
            "rules::pool::LOOK_AGAIN",
            "store::writer::LOOK",
        ],
        "how often a loop looks at what has limits of its own",
    ),
    (
        &[
            "config::actions::DEFAULT_CONCURRENCY",
            "config::actions::DEFAULT_TIMEOUT",
            "config::collect::DEFAULT_JMX_INTERVAL",
            "config::collect::DEFAULT_JMX_SIZE",
            "config::collect::DEFAULT_JMX_TIMEOUT",
            "config::collect::DEFAULT_KAFKA_INTERVAL",
            "config::collect::DEFAULT_KAFKA_TIMEOUT",
            "config::collect::DEFAULT_MAX_SERIES",
            "config::collect::DEFAULT_REPLAY",
            "config::collect::DEFAULT_PORT",
        ],
        "defaults, in agent.yaml",
    ),
    (&["http::answers::LEAST_COMPRESSED"], "what is not worth the work"),
    (&["jmx::walk::PARSE_STEP", "jmx::walk::UNPACK_STEP", "page::segments::OUTPUT_STEP"], "work done at once, of any"),
    (&["page::encode::DIGITS", "page::encode::EXACT", "page::encode::EXPONENT_FROM"], "how numbers are written"),
    (&["deliver::time::LAST", "http::api::LAST_MILLISECOND"], "the end of the year 9999"),
    (
        &[
            "kafka::ends::NO_RECORD",
            "recording::frame::PARTITION_COLUMNS",
            "recording::frame::ROW_COLUMNS",
            "recording::header::VERSION",
            "rules::cache::HASH",
            "pipeline::deeds::IDEMPOTENCY_DIGITS",
            "pipeline::saved::outbox::DIGITS",
            "snapshot::kafka::table::ABSENT",
            "snapshot::kafka::table::AT_LEAST",
            "store::schema::APPLICATION",
        ],
        "parts of a format",
    ),
    (&["deliver::email::ID_BYTES", "http::tls::HANDSHAKE", "kafka::ffi::produce::EVENTS"], "a part of a format"),
    (&["actions::program::READ_STEP", "deliver::smtp::READ_STEP"], "read at once of what has a limit"),
    (
        &["http::web_config::HASH_HEAD", "http::web_config::HASH_LENGTH", "http::web_config::SALT_END"],
        "parts of a format",
    ),
    (
        &[
            "cli::doctor::expiry::EXPIRES_SOON",
            "cli::doctor::host::LEAST_SPACE",
            "cli::doctor::host::LOW_SPACE",
            "cli::doctor::skew::MOST_SKEW",
        ],
        "what `doctor` warns of; it refuses nothing, and docs/operations.md has them",
    ),
    (&["cli::doctor::host::WORLD_READABLE"], "a bit of a file's mode"),
    (&["http::auth::BUSY_RETRY"], "what is told to others to wait"),
    (&["deliver::tell::SHORT_SECRET"], "how short a secret is that is not looked for in answers"),
    (&["deliver::smtp::SUBMISSIONS", "deliver::humanize::SECONDS_PER_DAY"], "facts"),
    (&["kafka::produced::ROOM"], "how a buffer grows that has a limit"),
    (
        &["rules::host::SERIES_BETWEEN_LOOKS", "rules::query::SERIES_BETWEEN_LOOKS"],
        "how often a deadline is looked at that has its own row",
    ),
    (&["rules::compile::NICE", "rules::pool::NICE"], "priorities"),
    (&["ruletest::format::DEFAULT_INTERVAL"], "defaults, in docs/rules-testing.md"),
    (&["ruletest::play::GENERATION", "ruletest::scripted::OFFSETS_PARTITIONS"], "what a case plays"),
    (
        &["config::rules::SHA256_DIGITS", "control::VERSION", "control::frame::HEAD", "history::UNKNOWN"],
        "parts of a format",
    ),
    (
        &[
            "cli::demo::DEFAULT_WIDTH",
            "demo::cluster::HALF_STEP",
            "demo::records::TIMEOUT_MS",
            "demo::schedule::LOOP",
            "demo::schedule::OFFSETS_PARTITIONS",
            "demo::schedule::THRESHOLD",
            "demo::simulation::COMMIT_INTERVAL",
            "demo::table::TREND_FLOOR",
        ],
        "what the demo plays",
    ),
];

/// Units as the document writes them, the largest first.
const TIMES: &[(&str, u64)] = &[("d", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("s", 1000), ("ms", 1)];
const SIZES: &[(&str, u64)] = &[("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// A constant that is a number, a time, or a range of either.
struct Constant {
    /// Behind its module's path.
    name: String,
    kind: String,
    expression: String,
    /// Does it count bytes? So say its name or its comment.
    bytes: bool,
}

/// The constants of a file that are no test's.
fn constants(path: &str, text: &str) -> Vec<Constant> {
    let module = path.strip_suffix(".rs").unwrap_or(path);
    let module = module.strip_suffix("/mod").unwrap_or(module).replace('/', "::");
    let mut found = Vec::new();
    let mut bytes = false;
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        if line == "#[cfg(test)]" {
            // Tests stand last, but for a line that names their file.
            if lines.next_if(|next| next.ends_with(';')).is_none() {
                break;
            }
            continue;
        }
        let line = line.trim_start();
        if let Some(comment) = line.strip_prefix("///") {
            bytes |= comment.to_lowercase().contains("byte");
            continue;
        }
        if line.starts_with("#[") {
            continue;
        }
        let said_bytes = std::mem::take(&mut bytes);
        let Some(("" | "pub " | "pub(crate) " | "pub(super) ", declared)) = line.split_once("const ") else { continue };
        let Some((name, rest)) = declared.split_once(':') else { continue };
        if !name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_') {
            continue;
        }
        let mut rest = rest.to_owned();
        while !rest.contains(';') {
            let Some(next) = lines.next() else { break };
            rest.push(' ');
            rest.push_str(next.trim());
        }
        let Some((kind, value)) = rest.split_once('=') else { continue };
        let kind = kind.trim();
        let of = kind.strip_prefix("RangeInclusive<").and_then(|of| of.strip_suffix('>')).unwrap_or(kind);
        if NUMBERS.contains(&of) {
            found.push(Constant {
                name: format!("{module}::{name}"),
                kind: kind.to_owned(),
                expression: value.split(';').next().unwrap_or_default().trim().to_owned(),
                bytes: said_bytes || name.contains("BYTES"),
            });
        }
    }
    found
}

/// The value as the document writes it: `10,000`, `64 KiB`, `3 min`, `1 MiB to 1 GiB`. `None`: it cannot be worked out.
fn shown(constant: &Constant, all: &[Constant]) -> Option<String> {
    let end = |text: &str| {
        if constant.kind.contains("Duration") {
            milliseconds(text).map(|value| in_units(value, TIMES))
        } else if constant.bytes {
            number(text).map(|value| in_units(value, SIZES))
        } else {
            number(text).map(grouped)
        }
    };
    let ends: Option<Vec<_>> = behind(&constant.expression, all).split("..=").map(end).collect();
    ends.map(|ends| ends.join(" to "))
}

/// What another constant stands for, if the expression is but its name (`CHUNK`, `ends::CHUNK`) and only one has it.
fn behind<'a>(expression: &'a str, all: &'a [Constant]) -> &'a str {
    let name = expression.rsplit("::").next();
    let mut named = all.iter().filter(|other| other.name.rsplit("::").next() == name);
    match (named.next(), named.next()) {
        (Some(one), None) => &one.expression,
        _ => expression,
    }
}

fn number(text: &str) -> Option<u64> {
    // `<<` binds less than `*`.
    if let Some((left, right)) = text.split_once("<<") {
        let factor = 2_u64.checked_pow(u32::try_from(number(right)?).ok()?)?;
        return number(left)?.checked_mul(factor);
    }
    if let Some((left, right)) = text.split_once('*') {
        return number(left)?.checked_mul(number(right)?);
    }
    text.trim().replace('_', "").parse().ok()
}

fn milliseconds(text: &str) -> Option<u64> {
    let text = text.trim();
    if text == "Duration::ZERO" {
        return Some(0);
    }
    let (unit, count) = text.strip_prefix("Duration::from_")?.strip_suffix(')')?.split_once('(')?;
    let factor = match unit {
        "millis" => 1,
        "secs" => 1000,
        "mins" => 60_000,
        "hours" => 3_600_000,
        "days" => 86_400_000,
        _ => return None,
    };
    number(count)?.checked_mul(factor)
}

/// In the largest unit of which it is a whole number.
fn in_units(value: u64, units: &[(&str, u64)]) -> String {
    if value == 0 {
        return "0".to_owned();
    }
    let (unit, factor) = units.iter().find(|(_, factor)| value.is_multiple_of(*factor)).unwrap();
    format!("{} {unit}", grouped(value / factor))
}

/// With a comma before each three digits.
fn grouped(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Name and number of each row about a constant.
fn rows(document: &str) -> Vec<(&str, &str)> {
    document.lines().filter_map(row).collect()
}

fn row(line: &str) -> Option<(&str, &str)> {
    let (name, rest) = line.strip_prefix("| `")?.split_once("` | ")?;
    let (number, rest) = rest.strip_suffix(" |")?.split_once(" | ")?;
    (name.contains("::") && rest.split(" | ").count() == 2).then_some((name, number))
}

fn faults(constants: &[Constant], document: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let mut rows_left = BTreeMap::new();
    for (name, number) in rows(document) {
        if rows_left.insert(name, number).is_some() {
            faults.push(format!("docs/limits.md has two rows for {name}"));
        }
    }
    for constant in constants {
        let name = constant.name.as_str();
        let no_limit = NO_LIMITS.iter().any(|(names, _)| names.contains(&name));
        match (no_limit, rows_left.remove(name), shown(constant, constants)) {
            (true, None, _) => {}
            (true, Some(_), _) => faults.push(format!("{name} has a row in docs/limits.md, and is in NO_LIMITS")),
            (false, _, None) => faults.push(format!(
                "`{}` of {name} cannot be worked out: write a number, a << b, a * b, Duration::from_…(a) or the name of \
                 one constant, or put it into NO_LIMITS of tests/it/limits.rs with the reason",
                constant.expression
            )),
            (false, Some(number), Some(value)) if number == value => {}
            (false, Some(number), Some(value)) => {
                faults.push(format!("docs/limits.md says that {name} is {number}; it is {value}"));
            }
            (false, None, Some(value)) => faults.push(format!(
                "add to docs/limits.md (or to NO_LIMITS of tests/it/limits.rs with the reason):\n\
                 | `{name}` | {value} | what it bounds | what happens beyond it |"
            )),
        }
    }
    faults.extend(rows_left.keys().map(|name| format!("docs/limits.md has a row for {name}, which is gone")));
    faults
}

#[test]
fn every_limit_is_in_the_documentation() {
    let document = fs::read_to_string(root().join("docs/limits.md")).unwrap();
    let sources = sources();
    let shipped = sources.iter().filter(|source| !is_test(&source.path));
    let all: Vec<_> = shipped.flat_map(|source| constants(&source.path, &source.text)).collect();
    assert!(all.len() > 150, "only {} constants", all.len());
    let mut faults = faults(&all, &document);
    let excepted = NO_LIMITS.iter().flat_map(|(names, _)| *names);
    let gone = excepted.filter(|name| all.iter().all(|constant| constant.name != **name));
    faults.extend(gone.map(|name| format!("NO_LIMITS of tests/it/limits.rs has {name}, which is gone")));
    let hint = "(a number is one of bytes if the constant's name says BYTES, or its comment speaks of a byte)";
    assert!(faults.is_empty(), "\n{}\n{hint}", faults.join("\n"));
}

#[test]
fn the_judge_of_limits_judges() {
    let text = r"
/// Words.
pub const MAX_WORDS: usize = 10_000;
/// Bytes of a word.
#[expect(dead_code)]
const MAX_WORD: u64 = 3 * 512; // odd
const NAME: &str = LONG;
#[cfg(test)]
mod tests;
pub const WAITS: RangeInclusive<Duration> =
    Duration::ZERO..=Duration::from_mins(90);
    pub(super) const ODD: u32 = u32::MAX;
const SAME: usize = a::MAX_WORDS;
pub const fn next(of: u32) -> u32 {
#[cfg(test)]
mod more_tests {
    const MAX_TESTS: usize = 1;
";
    let all = constants("a/mod.rs", text);
    let values: Vec<_> = all.iter().map(|one| (one.name.as_str(), shown(one, &all).unwrap_or_default())).collect();
    let want = [
        ("a::MAX_WORDS", "10,000"),
        ("a::MAX_WORD", "1,536 B"),
        ("a::WAITS", "0 to 90 min"),
        ("a::ODD", ""),
        ("a::SAME", "10,000"),
    ];
    assert_eq!(values, want.map(|(name, value)| (name, value.to_owned())));
    assert_eq!(number(" 1 << 2 * 5 "), Some(1024));
    assert_eq!(number("1 << 64"), None);
    let document = "| constant | number |\n| `a::MAX_WORDS` | 1,000 | words | refused |\n\
                    | `a::MAX_WORD` | 1,536 B | a word | cut |\n| `a::GONE` | 1 | it | that |\n| `a::WAITS` | 0 |\n\
                    | `a::SAME` | 10,000 | words | refused |\n";
    let found = faults(&all, document);
    let parts = [
        "a::MAX_WORDS is 1,000; it is 10,000",
        "| `a::WAITS` | 0 to 90 min | what",
        "`u32::MAX` of a::ODD cannot",
        "a::GONE, which is gone",
    ];
    assert_eq!(found.len(), parts.len(), "{found:?}");
    for (fault, part) in found.iter().zip(parts) {
        assert!(fault.contains(part), "{fault}");
    }
}
