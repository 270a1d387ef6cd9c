//! Title and text of a message by their templates. A template that fails with the alerts at hand does not keep them from
//! being told. Pure.

use super::template::{Medium, Template};
use minijinja::Value;

/// What is said where the configuration says nothing else.
pub const TITLE: &str = "[{{ status | upper }}{% if firing > 1 %}:{{ firing }}{% endif %}] {{ groupLabels.alertname }}\
{% if commonLabels.severity %} ({{ commonLabels.severity }}){% endif %}\
{% if commonAnnotations.summary %}: {{ commonAnnotations.summary }}{% endif %}";

/// As [`TITLE`], for the text below it.
pub const TEXT: &str = "{% for alert in alerts %}{{ alert.status | upper }} \
{{ alert.annotations.summary or alert.annotations.description or alert.labels.alertname }}
{% for name, value in alert.labels | items %}  {{ name }}={{ value }}
{% endfor %}{% for name, value in alert.annotations | items if name != 'summary' %}  {{ name }}: {{ value }}
{% endfor %}  since {{ alert.startsAt }}{% if alert.status == 'resolved' %}, until {{ alert.endsAt }}{% endif %}

{% endfor %}{% if externalURL %}{{ externalURL }}{% endif %}";

/// As [`TEXT`], for mails.
pub const HTML: &str = "<!DOCTYPE html><html><body>{% for alert in alerts %}\
<h3>{{ alert.status | upper }} {{ alert.annotations.summary or alert.annotations.description or alert.labels.alertname }}</h3>
<table>{% for name, value in alert.labels | items %}<tr><th align=\"left\">{{ name }}</th><td>{{ value }}</td></tr>
{% endfor %}{% for name, value in alert.annotations | items if name != 'summary' %}\
<tr><th align=\"left\">{{ name }}</th><td>{{ value }}</td></tr>
{% endfor %}</table><p>since {{ alert.startsAt }}{% if alert.status == 'resolved' %}, until {{ alert.endsAt }}{% endif %}</p>
{% endfor %}</body></html>";

/// What `template` says of this, or what `fallback` does, and then why.
pub(super) fn said(
    template: Option<&Template>,
    fallback: &str,
    medium: Medium,
    context: &Value,
) -> (String, Option<String>) {
    let failed = match template.map(|template| template.render(context)) {
        // No receiver takes a message without a title.
        Some(Ok(text)) if fallback == TITLE && text.trim().is_empty() => Some("it says nothing".to_owned()),
        Some(Ok(text)) => return (text, None),
        Some(Err(error)) => Some(error),
        None => None,
    };
    let text = Template::parse(fallback, medium).and_then(|template| template.render(context));
    (text.unwrap_or_else(|error| format!("alerts (cannot be written: {error})")), failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deliver::{
        context,
        tests::{firing, resolved, with_label},
    };

    fn of(text: &str, medium: Medium) -> String {
        let batch = [with_label(&firing("A", 1), "severity", "critical")];
        said(None, text, medium, &context::of(&batch, "ops", "")).0
    }

    #[test]
    fn without_templates_of_its_own_a_message_says_what_matters() {
        assert_eq!(of(TITLE, Medium::Plain), "[FIRING] A (critical): A is bad");
        let text = of(TEXT, Medium::Slack);
        let want =
            "FIRING A is bad\n  alertname=A\n  rule=r\n  severity=critical\n  since 1970-01-01T00:00:00.001Z\n\n";
        assert_eq!(text, want);
        let html = of(HTML, Medium::Html);
        assert!(html.contains("<h3>FIRING A is bad</h3>") && html.contains("<td>critical</td>"), "{html}");
        let batch = [firing("A", 1), firing("A", 2), resolved("A", 1, 3)];
        assert_eq!(said(None, TITLE, Medium::Plain, &context::of(&batch, "ops", "")).0, "[FIRING:2] A: A is bad");
    }

    #[test]
    fn a_template_that_fails_says_why_and_the_alert_is_told_all_the_same() {
        let template =
            Template::parse("{{ commonAnnotations.summary | length and alerts[0].value | humanize }}", Medium::Plain);
        let mut delivery = firing("A", 1);
        let mut alert = crate::alerts::Alert::clone(&delivery.alert);
        alert.value = None;
        delivery.alert = std::sync::Arc::new(alert);
        let context = context::of(&[delivery], "ops", "");
        let (text, error) = said(Some(&template.unwrap()), TITLE, Medium::Plain, &context);
        assert_eq!(text, "[FIRING] A: A is bad");
        assert!(error.unwrap().contains("not a number"));
    }
}
