//! Where the log goes: standard error, through a writer that drops lines rather than wait for a full pipe.

use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;

/// Lines that may wait to be written; more are dropped while the reader of standard error hangs.
pub const MAX_BUFFERED_LINES: usize = 16_384;

/// Starts logging at `default` unless RUST_LOG says otherwise. The log is written until the guard is dropped.
pub(super) fn start(default: &str) -> WorkerGuard {
    let (writer, guard) =
        NonBlockingBuilder::default().buffered_lines_limit(MAX_BUFFERED_LINES).lossy(true).finish(std::io::stderr());
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    let terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer).with_ansi(terminal).init();
    guard
}
