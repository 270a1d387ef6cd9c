//! Every cap on rules, once, with its number. What agent.yaml may change is in `Limits`.

use std::time::Duration;
use wasmtime::ResourceLimiter;

/// Rules of `rules_dir`.
pub const MAX_RULES: usize = 1_000;
/// Entries of `rules_dir` that are looked at.
pub const MAX_DIR_ENTRIES: usize = 10_000;
/// Bytes of a rule's name.
pub const MAX_RULE_NAME: usize = 100;
/// Bytes of a module's path that people are shown.
pub const MAX_SHOWN_PATH: usize = 1_000;
/// Bytes of a file's name in a complaint about it.
pub const MAX_SHOWN_FILE: usize = 200;
/// Bytes of a module's file.
pub const MAX_MODULE_BYTES: u64 = 32 << 20;
/// Bytes of the YAML beside a module.
pub const MAX_SIDECAR_BYTES: u64 = 64 << 10;

/// CPU time of the child that compiles one module.
pub const COMPILE_CPU: Duration = Duration::from_mins(1);
/// Wall time of that child.
pub const COMPILE_WALL: Duration = Duration::from_mins(3);
/// Address space of that child, in bytes.
pub const COMPILE_MEMORY: u64 = 1 << 30;
/// Modules that are compiled at the same time; others wait for their turn.
pub const MAX_COMPILING: usize = 2;
/// How long a look at the rules waits for one module to be compiled before it goes on to the others.
pub const COMPILE_PATIENCE: Duration = Duration::from_millis(500);
/// Bytes of machine code of one module.
pub const MAX_COMPILED_BYTES: u64 = 256 << 20;
/// Bytes of machine code of all rules, with what their modules hold as data: it stays in memory.
pub const MAX_LIVE_CODE: u64 = 256 << 20;
/// Bytes kept of what that child says when it fails.
pub const MAX_COMPILER_WORDS: u64 = 4 << 10;
/// Compiled modules kept on disk; the oldest go first.
pub const MAX_CACHED: usize = 200;
/// Bytes of compiled modules kept on disk; the oldest go first.
pub const MAX_CACHED_BYTES: u64 = 1 << 30;

/// Wall time of an evaluation, as a multiple of its CPU time: other programs may keep it waiting.
pub const WALL_FACTOR: u32 = 10;
/// How much more time a rule gets in `rule test` and `rule replay`, which must come out the same each time.
pub const OFFLINE_TIMES: u32 = 10;
/// The epoch ticks this often; a deadline is noticed this much late.
pub const EPOCH_TICK: Duration = Duration::from_millis(5);
/// The most memory that agent.yaml can give one evaluation, in bytes.
pub const MAX_MEMORY: usize = 1 << 30;
/// Bytes of a linear memory that stay with us between evaluations instead of going back to the system: halves the cost
/// of reading 20,000 rows.
pub const KEPT_MEMORY: usize = 2 << 20;
/// Linear memories that are kept so while no evaluation uses them.
pub const WARM_SLOTS: u32 = 8;
/// Stack of the guest, in bytes.
pub const MAX_WASM_STACK: usize = 512 << 10;
/// Core instances of one component (Python ones hold dozens).
pub const MAX_INSTANCES: usize = 64;
/// Linear memories of one component (Python ones hold ten).
pub const MAX_MEMORIES: usize = 16;
/// Tables of one component.
pub const MAX_TABLES: usize = 64;
/// Elements of all tables of one component together.
pub const MAX_TABLE_ELEMENTS: usize = 100_000;
/// Bytes that wasmtime keeps for an instance besides its memories and tables: of a core module, and of a component.
pub const MAX_INSTANCE_BYTES: usize = 4 << 20;
/// Bytes that one call may carry from the guest to the host.
pub const MAX_BYTES_PER_CALL: usize = 1 << 20;
/// Resource handles that a guest may hold.
pub const MAX_HANDLES: usize = 1_000;
/// Bytes of random that a guest may ask for at once.
pub const MAX_RANDOM_BYTES: u64 = 64 << 10;
/// Calls of our functions in one evaluation.
pub const MAX_HOST_CALLS: u32 = 10_000;
/// Rows in one answer.
pub const MAX_ROWS_PER_CALL: u32 = 20_000;
/// Rows in all answers of one evaluation.
pub const MAX_ROWS: u32 = 200_000;
/// Patterns in one filter.
pub const MAX_PATTERNS: usize = 1_000;
/// Bytes of a pattern or selector.
pub const MAX_PATTERN_BYTES: usize = 4 << 10;
/// Regular expressions in one list of patterns: each costs time to compile that is ours, not the guest's.
pub const MAX_REGEXES: usize = 16;
/// Bytes that a regular expression of a filter may compile to.
pub const MAX_REGEX_BYTES: usize = 256 << 10;
/// Bytes logged in one evaluation.
pub const MAX_LOG_BYTES: usize = 64 << 10;
/// Lines logged in one evaluation.
pub const MAX_LOG_LINES: u32 = 1_000;
/// Bytes of one logged line.
pub const MAX_LOG_LINE: usize = 4 << 10;
/// What a key of the state costs besides its bytes.
pub const STATE_KEY_COST: usize = 64;
/// Selectors, each with its window, whose rates are kept for a rule.
pub const MAX_RATES: usize = 16;
/// The longest window of a rate.
pub const MAX_RATE_WINDOW: Duration = Duration::from_hours(24);
/// Parts of a window that have a look each, at most; looks between them are left out.
pub const RATE_LOOKS: u64 = 32;
/// A rate that is not asked for any more is forgotten after this.
pub const FORGET_RATE_AFTER: Duration = Duration::from_hours(1);
/// Bytes kept for the rates of a rule.
pub const MAX_RATE_BYTES: usize = 4 << 20;
/// Bytes that a series of a rate counts besides the text of its labels: its looks above all.
pub const RATE_SERIES_COST: usize = 1_280;
/// Bytes that a label of it counts besides its text.
pub const RATE_LABEL_COST: usize = 48;
/// Points of history in all answers of one evaluation.
pub const MAX_HISTORY_POINTS: usize = 500_000;
/// Rules that people ask to forget at the same time.
pub const MAX_FORGETTING: usize = 16;
/// Evaluations of a rule that are shown to people who ask.
pub const LAST_EVALUATIONS: usize = 10;
/// Bytes of a time zone's name.
pub const MAX_ZONE_NAME: usize = 100;
/// Bytes of a key of the state.
pub const MAX_STATE_KEY: usize = 1 << 10;

/// Actions returned by one evaluation.
pub const MAX_ACTIONS: usize = 100;
/// Measurements returned by one evaluation.
pub const MAX_MEASUREMENTS: usize = 1_000;
/// Labels, annotations or parameters of one thing.
pub const MAX_LABELS: usize = 32;
/// Bytes of a name: of an alert, action, measurement or label.
pub const MAX_NAME: usize = 200;
/// Bytes of a label's value.
pub const MAX_LABEL_VALUE: usize = 1 << 10;
/// Bytes of an annotation or of a parameter of an action.
pub const MAX_ANNOTATION: usize = 8 << 10;
/// Bytes of a subject: Kafka's own limit for the name of a group.
pub const MAX_SUBJECT: usize = 32_767;
/// Bytes of a bad name in what is said about it.
pub const MAX_SHOWN_NAME: usize = 80;
/// Bytes of a reason that a rule gives, or that we give for its failure.
pub const MAX_REASON: usize = 1 << 10;

/// Evaluations that fail in a row before pauses begin.
pub const FAILURES_BEFORE_PAUSE: u32 = 3;
/// The first pause; each further failure doubles it.
pub const FIRST_PAUSE: Duration = Duration::from_secs(5);
/// The longest pause.
pub const LONGEST_PAUSE: Duration = Duration::from_mins(5);
/// Snapshots after which CPU time that a rule used counts half when it is decided who goes first.
pub const CPU_HALF_LIFE: u32 = 4;
/// CPU time of an evaluation above which a rule is not cheap: it leaves one thread to those that are.
pub const CHEAP_EVALUATION: Duration = Duration::from_millis(10);
/// Evaluations over which a dear one is forgotten: each takes one part in so many from what it counts.
pub const DEAR_EVALUATIONS: u32 = 8;
/// `rules_dir` is looked at this often; a file counts once it stood still for two looks.
pub const SCAN_INTERVAL: Duration = Duration::from_millis(500);
/// Versions that wait for their trial on the thread for those that may take long; others ask again.
pub const TRIALS_WAITING: usize = 16;
/// Files of `rules_dir` that are no rules by their names, and are told; others are counted.
pub const MAX_TOLD_FILES: usize = 5;
/// A load that failed for a reason of the machine's is tried again after this.
pub const LOAD_RETRY: Duration = Duration::from_mins(1);
/// Threads that evaluate all rules.
pub const MAX_WORKERS: usize = 8;

/// Counts the memory and table growth of all instances of one evaluation together (wasmtime's own limits are for each
/// memory alone).
#[derive(Debug)]
pub(super) struct Meter {
    memory_left: usize,
    /// Bytes of all memories.
    pub(super) memory_used: u64,
    elements_left: usize,
    last_growth: usize,
    /// Did the guest ask for more than it may have?
    pub(super) memory_refused: bool,
}

impl Meter {
    pub(super) fn new(memory: u64) -> Self {
        let memory_left = usize::try_from(memory).unwrap_or(MAX_MEMORY).min(MAX_MEMORY);
        Self { memory_left, memory_used: 0, elements_left: MAX_TABLE_ELEMENTS, last_growth: 0, memory_refused: false }
    }
}

fn bytes(growth: usize) -> u64 {
    u64::try_from(growth).unwrap_or(u64::MAX)
}

impl ResourceLimiter for Meter {
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let growth = desired.saturating_sub(current);
        let left = self.memory_left.checked_sub(growth);
        if let Some(left) = left {
            self.memory_left = left;
            self.last_growth = growth;
            self.memory_used = self.memory_used.saturating_add(bytes(growth));
        } else {
            self.memory_refused = true;
        }
        Ok(left.is_some())
    }

    fn memory_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        let growth = std::mem::take(&mut self.last_growth);
        self.memory_left = self.memory_left.saturating_add(growth);
        self.memory_used = self.memory_used.saturating_sub(bytes(growth));
        self.memory_refused = true;
        Ok(())
    }

    fn table_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        match self.elements_left.checked_sub(desired.saturating_sub(current)) {
            Some(left) => {
                self.elements_left = left;
                Ok(true)
            }
            None => Ok(false),
        }
    }

    fn instances(&self) -> usize {
        MAX_INSTANCES
    }

    fn tables(&self) -> usize {
        MAX_TABLES
    }

    fn memories(&self) -> usize {
        MAX_MEMORIES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_memories_of_an_evaluation_share_one_limit() {
        let mut meter = Meter::new(100);
        assert!(meter.memory_growing(0, 60, None).unwrap());
        assert!(!meter.memory_growing(0, 60, None).unwrap() && meter.memory_refused);
        assert!(meter.memory_growing(60, 100, None).unwrap());
        assert_eq!(meter.memory_used, 100);
        assert!(!meter.memory_growing(0, 1, None).unwrap());
        assert!(meter.table_growing(0, MAX_TABLE_ELEMENTS, None).unwrap());
        assert!(!meter.table_growing(0, 1, None).unwrap());
    }
}
