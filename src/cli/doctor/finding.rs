//! What the doctor found, a line each. Pure.

use std::fmt;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    /// Nothing to do.
    Ok,
    /// The agent works, and not as it should, or not for long.
    Warn,
    /// The agent does not work.
    Fail,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) level: Level,
    /// The key of agent.yaml, or what else was looked at.
    about: String,
    found: String,
    /// What to do about it.
    remedy: String,
}

impl Finding {
    pub(super) fn ok(about: impl Into<String>, found: impl Into<String>) -> Self {
        Self { level: Level::Ok, about: about.into(), found: found.into(), remedy: String::new() }
    }

    pub(super) fn warn(about: impl Into<String>, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { level: Level::Warn, about: about.into(), found: found.into(), remedy: remedy.into() }
    }

    pub(super) fn fail(about: impl Into<String>, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { level: Level::Fail, about: about.into(), found: found.into(), remedy: remedy.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match self.level {
            Level::Ok => "ok  ",
            Level::Warn => "warn",
            Level::Fail => "FAIL",
        };
        // What others answered must not make a line of its own.
        let line = |text: &str| text.replace(char::is_control, " ");
        write!(f, "{level}  {}: {}", line(&self.about), line(&self.found))?;
        if self.remedy.is_empty() { Ok(()) } else { write!(f, "; {}", line(&self.remedy)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_one_line_whatever_was_answered() {
        assert_eq!(Finding::ok("data_dir", "can be written").to_string(), "ok    data_dir: can be written");
        let finding = Finding::fail("jmx[0]", "no\nFAIL  answer\u{1b}[2J", "look at it");
        assert_eq!(finding.to_string(), "FAIL  jmx[0]: no FAIL  answer [2J; look at it");
        assert!(Level::Ok < Level::Warn && Level::Warn < Level::Fail);
    }
}
