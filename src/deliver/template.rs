//! Templates for what people, and receivers with formats of their own, are told. A template is the operator's and may say
//! anything; what it puts in comes from alerts, and is escaped as the medium needs it. Pure, but for the time it takes:
//! that is bounded by fuel.

use super::{
    context::{NAMES, of, samples},
    humanize,
};
use minijinja::{AutoEscape, Environment, Error, ErrorKind, Value};
use serde::de::IgnoredAny;
use std::{fmt, io, sync::Arc};

/// Longest template, in bytes.
pub const MAX_TEMPLATE_BYTES: usize = 64 << 10;

/// Steps that one template may take.
const FUEL: u64 = 200_000;

/// Bytes that one template may write.
const MAX_RENDERED: usize = 256 << 10;

/// Bytes of an error about a template.
const MAX_ERROR: usize = 300;

const NAME: &str = "template";

/// What a template is for, which says how foreign text is escaped in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Medium {
    /// Text as it is.
    Plain,
    /// Slack's `mrkdwn`: nothing from an alert can name a channel, a person or a link.
    Slack,
    /// HTML.
    Html,
    /// JSON: `{{ x }}` is a whole JSON value, quotes and all.
    Json,
}

/// A template that was checked.
#[derive(Clone)]
pub struct Template {
    source: String,
    medium: Medium,
    environment: Arc<Environment<'static>>,
}

impl Template {
    /// Compiles a template and tries it on an alert that fires and one that is resolved.
    ///
    /// # Errors
    /// What is wrong with it, for people.
    pub fn parse(source: &str, medium: Medium) -> Result<Self, String> {
        if source.len() > MAX_TEMPLATE_BYTES {
            return Err(format!("longer than {MAX_TEMPLATE_BYTES} bytes"));
        }
        let mut environment = Environment::new();
        environment.set_fuel(Some(FUEL));
        environment.set_auto_escape_callback(move |_| match medium {
            Medium::Plain => AutoEscape::None,
            Medium::Slack => AutoEscape::Custom("slack".into()),
            Medium::Html => AutoEscape::Html,
            Medium::Json => AutoEscape::Json,
        });
        environment.set_formatter(|out, state, value| match state.auto_escape() {
            AutoEscape::Custom(_) if !value.is_safe() => {
                out.write_str(&escape_slack(&value.to_string())).map_err(Error::from)
            }
            AutoEscape::Custom(_) => out.write_str(&value.to_string()).map_err(Error::from),
            _ => minijinja::escape_formatter(out, state, value),
        });
        humanize::add_to(&mut environment);
        environment.add_template_owned(NAME, source.to_owned()).map_err(|error| shown(&error))?;
        let template = Self { source: source.to_owned(), medium, environment: Arc::new(environment) };
        template.check()?;
        Ok(template)
    }

    /// What was parsed.
    pub fn source(&self) -> &str {
        &self.source
    }

    fn check(&self) -> Result<(), String> {
        let template = self.environment.get_template(NAME).map_err(|error| shown(&error))?;
        let functions: Vec<_> = self.environment.globals().map(|(name, _)| name.to_owned()).collect();
        let known = |name: &String| NAMES.contains(&name.as_str()) || functions.contains(name);
        let mut unknown: Vec<_> =
            template.undeclared_variables(false).into_iter().filter(|name| !known(name)).collect();
        unknown.sort_unstable();
        if let Some(name) = unknown.first() {
            let name = crate::model::BoundedText(name, MAX_ERROR);
            return Err(format!("unknown name `{name}`; known: {}", NAMES.join(", ")));
        }
        let mut all = samples();
        let both = of(&all, "sample", "http://localhost:9308");
        all.pop();
        for context in [both, of(&all, "sample", "")] {
            self.render(&context)?;
        }
        Ok(())
    }

    /// What the template says of this; cut, if it says too much.
    ///
    /// # Errors
    /// Why it fails: out of fuel, or a step that is not possible with these values. Shows none of them.
    pub(super) fn render(&self, context: &Value) -> Result<String, String> {
        let template = self.environment.get_template(NAME).map_err(|error| shown(&error))?;
        let mut out = Capped { bytes: Vec::new(), full: false };
        let result = template.render_captured_to(context.clone(), &mut out).map(drop);
        let text = String::from_utf8_lossy(&out.bytes).into_owned();
        match result {
            Ok(()) if self.medium == Medium::Json && serde_json::from_str::<IgnoredAny>(&text).is_err() => {
                Err("what it writes is no JSON (`{{ x }}` brings its own quotes)".to_owned())
            }
            Ok(()) => Ok(text),
            Err(_) if out.full && self.medium != Medium::Json => Ok(text),
            Err(_) if out.full => Err(format!("writes more than {MAX_RENDERED} bytes")),
            Err(error) => Err(shown(&error)),
        }
    }
}

impl PartialEq for Template {
    fn eq(&self, other: &Self) -> bool {
        (&self.source, self.medium) == (&other.source, other.medium)
    }
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Template").field("source", &self.source).field("medium", &self.medium).finish_non_exhaustive()
    }
}

/// Slack's own advice: these three, and no others.
/// Source: api.slack.com/reference/surfaces/formatting#escaping.
fn escape_slack(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn shown(error: &Error) -> String {
    let kind =
        if error.kind() == ErrorKind::OutOfFuel { "it takes too many steps".to_owned() } else { error.to_string() };
    crate::model::BoundedText(&kind, MAX_ERROR).to_string()
}

/// Takes so much and no more.
struct Capped {
    bytes: Vec<u8>,
    full: bool,
}

impl io::Write for Capped {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = MAX_RENDERED.saturating_sub(self.bytes.len());
        let taken = bytes.len().min(room);
        if taken == 0 && !bytes.is_empty() {
            self.full = true;
            return Err(io::ErrorKind::WriteZero.into());
        }
        self.bytes.extend(bytes.iter().take(taken));
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deliver::tests::{firing, resolved, with_label};

    fn said(source: &str, medium: Medium, evil: &str) -> String {
        let batch = [with_label(&firing("A", 1), "evil", evil), resolved("A", 1, 2)];
        let template = Template::parse(source, medium).unwrap_or_else(|error| panic!("{source}: {error}"));
        template.render(&of(&batch, "ops", "http://warden")).unwrap()
    }

    #[test]
    fn what_an_alert_brings_is_escaped_and_what_the_template_says_is_not() {
        let evil = "<!channel> & <https://evil|click> \"'";
        let template = "<!here> {{ alerts[0].labels.evil }}";
        assert_eq!(said(template, Medium::Plain, evil), format!("<!here> {evil}"));
        assert_eq!(
            said(template, Medium::Slack, evil),
            "<!here> &lt;!channel&gt; &amp; &lt;https://evil|click&gt; \"'"
        );
        let html = said(template, Medium::Html, evil);
        assert!(html.starts_with("<!here> &lt;!channel&gt; &amp; &lt;https:") && !html.contains("click>"), "{html}");
        let json = said("{\"text\": {{ alerts[0].labels.evil }}}", Medium::Json, "\"},\"x\":{\"\n");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&json).unwrap().as_object().unwrap().len(), 1, "{json}");
        let set = said("{% set x %}{{ alerts[0].labels.evil }}{% endset %}{{ x }}", Medium::Slack, "<!channel>");
        assert!(!set.contains('<'), "{set}");
    }

    #[test]
    fn control_characters_and_lengths_of_foreign_text_do_not_get_through() {
        let text = said("{{ alerts[0].labels.evil }}", Medium::Plain, "a\u{1b}[2J\rb\u{202e}c");
        assert_eq!(text, "a\u{fffd}[2J\nb\u{fffd}c");
        let long = said("{{ alerts[0].labels.evil }}", Medium::Plain, &"x".repeat(1 << 20));
        assert!(long.len() <= 8 << 10 && long.ends_with('…'), "{}", long.len());
    }

    #[test]
    fn all_that_is_known_can_be_said() {
        let source = "{{ status }} {{ firing }}/{{ resolved }} {{ receiver }} {{ externalURL }} {{ groupLabels.alertname }} \
                      {{ commonLabels.rule }} {{ alerts[0].value | humanize }} {{ 3700 | humanizeDuration }} \
                      {%- for alert in alerts %} {{ alert.status | upper }} {{ alert.startsAt }}{% endfor %}";
        let text = said(source, Medium::Plain, "");
        let want = "firing 1/1 ops http://warden A r 1.5 1h 1m 40s FIRING 1970-01-01T00:00:00.001Z RESOLVED 1970-01-01T00:00:00.001Z";
        assert_eq!(text, want);
    }

    #[test]
    fn what_cannot_work_is_refused_when_it_is_read() {
        let cases = [
            ("{{ status", Medium::Plain, "syntax error"),
            ("{{ labls.severity }}", Medium::Plain, "unknown name `labls`; known: alerts, "),
            ("{{ status | shout }}", Medium::Plain, "shout"),
            ("{{ commonLabels.a.b }}", Medium::Plain, "undefined"),
            ("{{ 'x' | humanize }}", Medium::Plain, "not a number"),
            ("{% for a in range(1000) %}{% for b in range(1000) %}x{% endfor %}{% endfor %}", Medium::Plain, "steps"),
            ("{\"text\": \"{{ status }}\"}", Medium::Json, "no JSON"),
            ("{% include '/etc/passwd' %}", Medium::Plain, ""),
        ];
        for (source, medium, part) in cases {
            let error = Template::parse(source, medium).expect_err(source);
            assert!(error.contains(part) && error.len() < 500, "{source}: {error}");
        }
        assert!(
            Template::parse(&"x".repeat(MAX_TEMPLATE_BYTES + 1), Medium::Plain).unwrap_err().contains("longer than")
        );
    }

    #[test]
    fn output_without_end_is_cut() {
        let big = "{% for a in range(5000) %}".to_owned() + &"y".repeat(100) + "{% endfor %}";
        assert_eq!(said(&big, Medium::Plain, "").len(), MAX_RENDERED);
    }
}
