//! Where the log goes: standard error, through a writer that drops lines rather than wait for a full pipe.

use clap::ValueEnum;
use tracing::Subscriber;
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::{EnvFilter, fmt::MakeWriter, util::SubscriberInitExt};

/// Lines that may wait to be written; more are dropped while the reader of standard error hangs.
pub const MAX_BUFFERED_LINES: usize = 16_384;

/// Where the format is taken from when the command line does not say it, as the filter is from RUST_LOG.
const FORMAT_VARIABLE: &str = "BROKERWARDEN_LOG_FORMAT";

/// How a line of the log is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line: timestamp, level, target, and fields, of which `message` is one.
    Json,
}

impl LogFormat {
    /// The format that was asked for: by the option, else by the variable, else text.
    ///
    /// # Errors
    /// When the variable holds something else than a format.
    pub(super) fn choose(option: Option<Self>) -> Result<Self, String> {
        Self::chosen(option, std::env::var_os(FORMAT_VARIABLE).as_deref())
    }

    fn chosen(option: Option<Self>, variable: Option<&std::ffi::OsStr>) -> Result<Self, String> {
        match (option, variable) {
            (Some(format), _) => Ok(format),
            (None, None) => Ok(Self::default()),
            (None, Some(text)) => text
                .to_str()
                .and_then(|text| Self::from_str(text, false).ok())
                .ok_or_else(|| format!("{FORMAT_VARIABLE}: found {:?}; allowed: text, json", text.to_string_lossy())),
        }
    }
}

/// Starts logging at `default` unless RUST_LOG says otherwise. The log is written until the guard is dropped.
pub(super) fn start(default: &str, format: LogFormat) -> WorkerGuard {
    let (writer, guard) =
        NonBlockingBuilder::default().buffered_lines_limit(MAX_BUFFERED_LINES).lossy(true).finish(std::io::stderr());
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    let terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
    subscriber(format, filter, writer, terminal).init();
    guard
}

fn subscriber<W>(format: LogFormat, filter: EnvFilter, writer: W, colours: bool) -> Box<dyn Subscriber + Send + Sync>
where
    W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
{
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer).with_ansi(colours);
    match format {
        LogFormat::Text => Box::new(builder.finish()),
        // There are no spans, and what comes with colours is no JSON.
        LogFormat::Json => {
            Box::new(builder.json().with_ansi(false).with_current_span(false).with_span_list(false).finish())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        ffi::OsStr,
        io::{self, Write},
        sync::{Arc, Mutex},
    };

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: LogFormat) -> String {
        let written = Written::default();
        let writer = written.clone();
        let subscriber = subscriber(format, EnvFilter::new("info"), move || writer.clone(), true);
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(topic = "a\"b\nc", partition = 3, "no \u{1b}[31manswer");
            tracing::debug!("not at this level");
        });
        String::from_utf8(written.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn json_is_one_object_a_line_whatever_is_in_it() {
        let log = logged(LogFormat::Json);
        assert_eq!((log.lines().count(), log.ends_with('\n')), (1, true), "{log}");
        assert!(!log.contains('\u{1b}'), "{log}");
        let line: serde_json::Value = serde_json::from_str(&log).unwrap();
        assert_eq!(line["level"], "WARN");
        assert_eq!(line["fields"]["topic"], "a\"b\nc");
        assert_eq!(line["fields"]["partition"], 3);
        assert_eq!(line["fields"]["message"], "no \u{1b}[31manswer");
        assert!(line["timestamp"].as_str().unwrap().ends_with('Z') && line["target"].is_string(), "{log}");
        assert!(line.get("span").is_none() && line.get("spans").is_none(), "{log}");
    }

    #[test]
    fn text_is_for_people() {
        let log = logged(LogFormat::Text);
        assert_eq!(log.lines().count(), 1, "{log}");
        assert!(log.contains("WARN") && log.contains("partition"), "{log}");
        assert!(serde_json::from_str::<serde_json::Value>(&log).is_err());
    }

    #[test]
    fn the_option_goes_before_the_variable_and_a_bad_one_is_told() {
        let json = Some(OsStr::new("json"));
        assert_eq!(LogFormat::chosen(None, None), Ok(LogFormat::Text));
        assert_eq!(LogFormat::chosen(None, json), Ok(LogFormat::Json));
        assert_eq!(LogFormat::chosen(Some(LogFormat::Text), json), Ok(LogFormat::Text));
        let error = LogFormat::chosen(None, Some(OsStr::new("yaml"))).unwrap_err();
        assert_eq!(error, "BROKERWARDEN_LOG_FORMAT: found \"yaml\"; allowed: text, json");
    }
}
