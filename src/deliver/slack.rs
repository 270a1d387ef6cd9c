//! Slack's incoming webhooks. Pure.

use super::{
    error::TellError,
    template::{Medium, Template},
    text::{cut_escaped, one_line},
    wording,
};
use minijinja::Value;
use serde_json::json;

/// Alerts in one message.
pub const MAX_SLACK_POST: usize = 20;
/// Bytes of a message's title.
const MAX_TITLE: usize = 1000;
/// Bytes of a message's text.
const MAX_TEXT: usize = 8000;

/// The body of one message, and what was wrong with its templates.
pub(super) fn body(
    context: &Value,
    title: Option<&Template>,
    text: Option<&Template>,
) -> Result<(Vec<u8>, Option<String>), TellError> {
    let (title, title_error) = wording::said(title, wording::TITLE, Medium::Slack, context);
    let (text, text_error) = wording::said(text, wording::TEXT, Medium::Slack, context);
    let title = cut_escaped(&one_line(&title, usize::MAX), MAX_TITLE);
    let text = cut_escaped(text.trim_end(), MAX_TEXT);
    let fires = context.get_attr("status").is_ok_and(|status| status.as_str() == Some("firing"));
    let color = if fires { "danger" } else { "good" };
    let attachment = json!({
        "title": title, "fallback": title, "text": text, "color": color, "mrkdwn_in": ["text"],
    });
    let body = serde_json::to_vec(&json!({ "attachments": [attachment] })).map_err(TellError::Encode)?;
    Ok((body, title_error.or(text_error)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deliver::{
        context,
        tests::{firing, resolved, with_label},
    };

    fn posted(batch: &[crate::pipeline::Delivery], text: Option<&Template>) -> serde_json::Value {
        let (body, error) = body(&context::of(batch, "ops", ""), None, text).unwrap();
        assert_eq!(error, None);
        let mut body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        body["attachments"][0].take()
    }

    #[test]
    fn labels_cannot_call_a_channel_or_link_anywhere() {
        let evil = with_label(&firing("<!channel> A", 1), "topic", "<https://evil.example|click & win>\n<@U1>");
        let message = posted(&[evil], None);
        assert_eq!(message["title"], "[FIRING] &lt;!channel&gt; A: &lt;!channel&gt; A is bad");
        let text = message["text"].as_str().unwrap();
        assert!(!text.contains(['<', '>']) && text.contains("&lt;https://evil.example|click &amp; win&gt;"), "{text}");
        assert_eq!(message["color"], "danger");
        assert_eq!(posted(&[resolved("A", 1, 2)], None)["color"], "good");
        let ours = Template::parse("<!here> {{ groupLabels.alertname }}", Medium::Slack).unwrap();
        assert_eq!(posted(&[firing("<A>", 1)], Some(&ours))["text"], "<!here> &lt;A&gt;");
    }

    #[test]
    fn a_message_is_as_long_as_slack_takes_it() {
        let batch: Vec<_> = (0..MAX_SLACK_POST)
            .map(|n| with_label(&firing("A", 1), "evil", &format!("{n}{}", "&".repeat(1 << 20))))
            .collect();
        let message = posted(&batch, None);
        let text = message["text"].as_str().unwrap();
        assert!(text.len() <= MAX_TEXT && text.ends_with("&amp;…"), "{}", text.len());
    }
}
