//! What a mail looks like: headers that no alert can add to, text and HTML. Pure.

use super::{
    error::TellError,
    settings::Mail,
    template::Medium,
    text::{cut, hex, one_line, visible},
    wording,
};
use crate::{alerts::Phase, model::Timestamp, pipeline::Delivery};
use lettre::{
    Message,
    message::{
        Mailbox, MultiPart,
        header::{HeaderName, HeaderValue},
    },
};
use minijinja::Value;
use sha2::{Digest, Sha256};
use std::time::{Duration, UNIX_EPOCH};

/// Alerts in one mail.
pub const MAX_MAIL_ALERTS: usize = 50;
/// Bytes of a mail's subject.
const MAX_SUBJECT: usize = 500;
/// Bytes of a mail's text, and of its HTML.
const MAX_TEXT: usize = 256 << 10;
/// Bytes of the hash that a mail's id is.
const ID_BYTES: usize = 16;

/// The bytes of one mail, and what was wrong with its templates.
pub(super) fn message(
    mail: &Mail,
    to: &Mailbox,
    batch: &[Delivery],
    context: &Value,
    now: Timestamp,
) -> Result<(Vec<u8>, Option<String>), TellError> {
    let wording = &mail.wording;
    let (subject, subject_error) = wording::said(wording.title.as_ref(), wording::TITLE, Medium::Plain, context);
    let (text, text_error) = wording::said(wording.text.as_ref(), wording::TEXT, Medium::Plain, context);
    let (html, html_error) = wording::said(mail.html.as_ref(), wording::HTML, Medium::Html, context);
    let date = UNIX_EPOCH.checked_add(Duration::from_millis(now.0)).unwrap_or(UNIX_EPOCH);
    let automatic = HeaderValue::new(HeaderName::new_from_ascii_str("Auto-Submitted"), "auto-generated".to_owned());
    let message = Message::builder()
        .from(mail.from.clone())
        .to(to.clone())
        .date(date)
        // The same when it is sent again, so that a mailbox can tell.
        .message_id(Some(format!("<{}@brokerwarden>", id(batch))))
        .subject(one_line(&subject, MAX_SUBJECT))
        .raw_header(automatic)
        .multipart(MultiPart::alternative_plain_html(visible(&text, MAX_TEXT), cut(&html, MAX_TEXT)))
        .map_err(TellError::Mail)?;
    Ok((message.formatted(), subject_error.or(text_error).or(html_error)))
}

fn id(batch: &[Delivery]) -> String {
    let mut hash = Sha256::new();
    for Delivery { alert, transition, ends_at, stored: _ } in batch {
        for part in alert.key.labels.iter().flat_map(|(name, value)| [name, value]) {
            hash.update(part);
            hash.update([0xff]);
        }
        hash.update([u8::from(alert.phase == Phase::Firing), u8::from(*transition)]);
        hash.update(alert.fired_at.unwrap_or_default().0.to_be_bytes());
        // A repetition is another mail.
        hash.update(if *transition { 0 } else { ends_at.0 }.to_be_bytes());
    }
    hex(hash.finalize().iter().take(ID_BYTES))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deliver::{
        Wording, context,
        template::Template,
        tests::{firing, with_label},
    };

    fn mail() -> Mail {
        Mail {
            smarthost: ("mail.example".into(), 25),
            from: "Warden <warden@example.org>".parse().unwrap(),
            to: vec!["ops@example.org".parse().unwrap()],
            hello: "localhost".into(),
            login: None,
            require_tls: true,
            wording: Wording::default(),
            html: None,
        }
    }

    fn written(mail: &Mail, batch: &[Delivery]) -> String {
        let context = context::of(batch, "mail", "http://warden");
        let (bytes, error) = message(mail, &mail.to[0], batch, &context, Timestamp(1_795_345_401_000)).unwrap();
        assert_eq!(error, None);
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn no_label_adds_a_header_or_ends_the_mail() {
        let evil = "x\r\nBcc: victim@example.com\r\n\r\n<script>alert(1)</script>\r\n.\r\nQUIT\r\n\u{0}";
        let mut mail = mail();
        mail.wording.title = Some(Template::parse("{{ commonLabels.evil }}", Medium::Plain).unwrap());
        let all = written(&mail, &[with_label(&firing("A", 1), "evil", evil)]);
        let (head, body) = all.split_once("\r\n\r\n").unwrap();
        let names: Vec<_> =
            head.lines().filter(|line| !line.starts_with(' ')).map(|line| line.split(':').next().unwrap()).collect();
        let known = ["From", "To", "Date", "Message-ID", "Subject", "Auto-Submitted", "MIME-Version", "Content-Type"];
        assert!(names.iter().all(|name| known.contains(name)) && names.len() == known.len(), "{head}");
        assert!(!all.replace("\r\n", "").contains(['\r', '\n']), "a line end that is none of SMTP's");
        let html = body.split("text/html").nth(1).unwrap().replace("=\r\n", "");
        assert!(html.contains("&lt;script&gt;") && !html.contains("<script"), "{html}");
        assert!(head.contains("Date: Sun, 22 Nov 2026 11:03:21 +0000"), "{head}");
    }

    #[test]
    fn a_mail_sent_again_has_the_same_id_and_no_mail_is_endless() {
        let id = |all: &str| all.lines().find(|line| line.starts_with("Message-ID")).unwrap().to_owned();
        let one = written(&mail(), &[firing("A", 1)]);
        assert_eq!(id(&one), id(&written(&mail(), &[firing("A", 1)])));
        assert_ne!(id(&one), id(&written(&mail(), &[firing("A", 2)])));
        let mut long = firing("A", 1);
        for number in 0..20 {
            long = with_label(&long, &format!("l{number}"), &"&".repeat(1 << 20));
        }
        let batch: Vec<_> = (0..MAX_MAIL_ALERTS).map(|_| long.clone()).collect();
        assert!(written(&mail(), &batch).len() < 3 << 20);
        let subject = written(&mail(), &[with_label(&firing(&"ä".repeat(1 << 20), 1), "a", "b")]);
        assert!(subject.split_once("\r\n\r\n").unwrap().0.len() < 4000);
    }
}
