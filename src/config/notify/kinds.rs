//! What each type of notifier has of its own.

use super::{secret, secret_url};
use crate::{
    config::{
        problem::key_path,
        read::{Field, Reader, Section},
        url::url,
    },
    deliver::{Kind, Mail, Mailbox, Medium, PAGERDUTY_URL, Template, Wording},
    model::Secret,
};
use hyper::Uri;

/// Most URLs of one Alertmanager notifier, and most mailboxes of a notifier by mail.
pub const MAX_RECEIVERS: usize = 16;
/// Longest address of a mailbox, host or name of ours, in bytes.
const MAX_ADDRESS_BYTES: usize = 320;

const HTTP: [&str; 2] = ["http", "https"];

pub(super) fn alertmanager(reader: &mut Reader<'_>, section: &mut Section) -> Option<Kind> {
    let items = several(reader, section, "urls", "URLs such as [http://localhost:9093]", "URLs")?;
    let count = items.len();
    let example = "a URL such as http://localhost:9093";
    let urls: Vec<_> = items.into_iter().filter_map(|item| url(reader, item, &HTTP, example)).collect();
    (urls.len() == count).then_some(Kind::Alertmanager { urls })
}

pub(super) fn webhook(reader: &mut Reader<'_>, section: &mut Section) -> Option<Kind> {
    let url = secret_url(reader, section, "url", "url_file");
    let payload = template(reader, section, "payload", Medium::Json);
    Some(Kind::Webhook { url: url?, payload })
}

pub(super) fn slack(reader: &mut Reader<'_>, section: &mut Section) -> Option<Kind> {
    let url = secret_url(reader, section, "webhook_url", "webhook_url_file");
    let wording = wording(reader, section, Medium::Slack);
    Some(Kind::Slack { webhook_url: url?, wording })
}

pub(super) fn pagerduty(reader: &mut Reader<'_>, section: &mut Section) -> Option<Kind> {
    let routing_key = secret(reader, section, "routing_key", "routing_key_file", "the integration's key");
    let url = match section.take("url") {
        Some(field) => url(reader, field, &HTTP, "a URL such as https://events.eu.pagerduty.com/v2/enqueue"),
        None => Some(Uri::from_static(PAGERDUTY_URL)),
    };
    let wording = wording(reader, section, Medium::Plain);
    Some(Kind::PagerDuty { routing_key: routing_key?, url: url?, wording })
}

pub(super) fn email(reader: &mut Reader<'_>, section: &mut Section) -> Option<Kind> {
    let example = "a host and a port such as mail.example.com:587";
    let smarthost = reader.required(section, "smarthost", example);
    let smarthost = smarthost.and_then(|field| reader.parsed(&field, example, host_and_port));
    let example = "an address such as brokerwarden@example.com";
    let from = reader.required(section, "from", example);
    let from = from.and_then(|field| reader.parsed(&field, example, mailbox));
    let to = several(reader, section, "to", "addresses such as [ops@example.com]", "addresses");
    let count = to.as_ref().map(Vec::len);
    let to: Vec<Mailbox> = to
        .unwrap_or_default()
        .iter()
        .filter_map(|field| reader.parsed(field, "an address such as ops@example.com", mailbox))
        .collect();
    let hello = section.take("hello").map(|field| reader.parsed(&field, "our host's name", host));
    let hello = hello.unwrap_or_else(|| Some("localhost".to_owned()));
    let login = login(reader, section);
    let require_tls = section.take("require_tls").map(|field| reader.boolean(&field));
    let require_tls = require_tls.unwrap_or(Some(true));
    let wording = wording(reader, section, Medium::Plain);
    let html = template(reader, section, "html", Medium::Html);
    if Some(to.len()) != count {
        return None;
    }
    Some(Kind::Email(Box::new(Mail {
        smarthost: smarthost?,
        from: from?,
        to,
        hello: hello?,
        login: login.ok()?,
        require_tls: require_tls?,
        wording,
        html,
    })))
}

/// It was said what.
struct Wrong;

fn login(reader: &mut Reader<'_>, section: &mut Section) -> Result<Option<(String, Secret)>, Wrong> {
    let password_path = section.has("auth_password") || section.has("auth_password_file");
    let user = section.take("auth_username");
    if user.is_none() && !password_path {
        section.take("auth_password");
        section.take("auth_password_file");
        return Ok(None);
    }
    let password = secret(reader, section, "auth_password", "auth_password_file", "a password");
    let Some(field) = user else {
        reader.problem(&key_path(&section.path, "auth_username"), "missing; allowed: the user's name");
        return Err(Wrong);
    };
    let good = |text: &str| !text.is_empty() && text.len() <= MAX_ADDRESS_BYTES && !text.contains(char::is_control);
    let user = reader.parsed(&field, "the user's name", |text| good(text).then(|| text.to_owned()));
    user.zip(password).map(Some).ok_or(Wrong)
}

fn several(
    reader: &mut Reader<'_>,
    section: &mut Section,
    key: &'static str,
    example: &str,
    what: &str,
) -> Option<Vec<Field>> {
    let field = reader.required(section, key, example)?;
    let path = field.path.clone();
    let items = reader.list(field)?;
    if !(1..=MAX_RECEIVERS).contains(&items.len()) {
        reader.problem(&path, format_args!("found {} {what}; allowed: 1 to {MAX_RECEIVERS}", items.len()));
        return None;
    }
    Some(items)
}

fn wording(reader: &mut Reader<'_>, section: &mut Section, medium: Medium) -> Wording {
    Wording { title: template(reader, section, "title", medium), text: template(reader, section, "text", medium) }
}

/// A template that is wrong is a problem, and none.
fn template(reader: &mut Reader<'_>, section: &mut Section, key: &'static str, medium: Medium) -> Option<Template> {
    let field = section.take(key)?;
    let text = reader.text(&field, "text (a template)")?;
    match Template::parse(&text, medium) {
        Ok(template) => Some(template),
        // What came from the environment may be a secret.
        Err(_) if field.written_with_variable() => {
            reader.refuse(&field, "a template that can be used");
            None
        }
        Err(reason) => {
            reader.problem(&field.path, format_args!("the template cannot be used: {reason}"));
            None
        }
    }
}

/// One mailbox and nothing after it. ASCII only: not every mail server takes other addresses.
fn mailbox(text: &str) -> Option<Mailbox> {
    let text = text.trim();
    let plain = text.len() <= MAX_ADDRESS_BYTES && !text.contains(char::is_control);
    let mailbox: Mailbox = Some(text).filter(|_| plain)?.parse().ok()?;
    let address: &str = mailbox.email.as_ref();
    let whole = text.trim_end_matches('>').trim_end().ends_with(address);
    (whole && address.is_ascii() && !address.contains(char::is_whitespace)).then_some(mailbox)
}

fn host_and_port(text: &str) -> Option<(String, u16)> {
    let (name, port) = text.rsplit_once(':')?;
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
    let good = bare.map_or_else(|| host(name).is_some(), |bare| bare.parse::<std::net::Ipv6Addr>().is_ok());
    let port = port.parse().ok().filter(|port| *port > 0)?;
    good.then(|| (name.to_owned(), port))
}

fn host(text: &str) -> Option<String> {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    ((1..=MAX_ADDRESS_BYTES).contains(&text.len()) && text.chars().all(good)).then(|| text.to_owned())
}
