//! `notify:` as it takes effect.

use super::{duration, list, map, path, secret, text};
use crate::{
    client::{Login, Tls},
    config::scalar,
    deliver::{Config, Kind, Rate, Reach, Template, Wording},
};
use serde_yaml::Value;

pub(super) type Entries = Vec<(String, Value)>;

/// One notifier.
pub(super) fn notifier(config: &Config) -> Value {
    let mut entries: Entries =
        vec![("name".to_owned(), text(&config.name)), ("type".to_owned(), text(config.kind.text()))];
    match &config.kind {
        Kind::Alertmanager { urls } => entries.push(("urls".into(), list(urls, |url| text(&url.to_string())))),
        Kind::Webhook { url, payload } => {
            entries.push(secret("url", url));
            entries.extend(template("payload", payload.as_ref()));
        }
        Kind::Slack { webhook_url, wording: words } => {
            entries.push(secret("webhook_url", webhook_url));
            wording(&mut entries, words);
        }
        Kind::PagerDuty { routing_key, url, wording: words } => {
            entries.push(secret("routing_key", routing_key));
            entries.push(("url".into(), text(&url.to_string())));
            wording(&mut entries, words);
        }
        Kind::Email(mail) => {
            let (host, port) = &mail.smarthost;
            entries.push(("smarthost".into(), text(&format!("{host}:{port}"))));
            entries.push(("from".into(), text(&mail.from.to_string())));
            entries.push(("to".into(), list(&mail.to, |to| text(&to.to_string()))));
            entries.push(("hello".into(), text(&mail.hello)));
            if let Some((user, password)) = &mail.login {
                entries.push(("auth_username".into(), text(user)));
                entries.push(secret("auth_password", password));
            }
            entries.push(("require_tls".into(), mail.require_tls.into()));
            wording(&mut entries, &mail.wording);
            entries.extend(template("html", mail.html.as_ref()));
        }
        Kind::Log => {}
    }
    entries.push(("match".into(), list(&config.wants.matchers, |matchers| text(matchers.text()))));
    entries.extend(config.wants.repeat.map(|repeat| ("repeat".to_owned(), duration(repeat))));
    entries.extend(config.rate.map(|rate| ("rate".to_owned(), rate_text(rate))));
    reach(&mut entries, &config.reach, config.login.as_ref());
    map(entries)
}

fn rate_text(rate: Rate) -> Value {
    text(&format!("{} per {}", rate.messages, scalar::duration_text(rate.per)))
}

fn wording(entries: &mut Entries, wording: &Wording) {
    entries.extend(template("title", wording.title.as_ref()));
    entries.extend(template("text", wording.text.as_ref()));
}

fn template(key: &str, template: Option<&Template>) -> Option<(String, Value)> {
    template.map(|template| (key.to_owned(), text(template.source())))
}

/// How receivers are reached, and who we are to them.
pub(super) fn reach(entries: &mut Entries, reach: &Reach, known_as: Option<&Login>) {
    entries.extend(reach.proxy.as_ref().map(|proxy| ("proxy_url".to_owned(), text(&proxy.to_string()))));
    entries.extend(tls(&reach.tls));
    entries.extend(known_as.map(login));
}

/// `tls_config`, if anything in it is said.
pub(super) fn tls(tls: &Tls) -> Option<(String, Value)> {
    let mut entries: Entries = Vec::new();
    entries.extend(tls.ca_file.as_ref().map(|file| ("ca_file".to_owned(), path(file))));
    if let Some((certificate, key)) = &tls.certificate {
        entries.push(("cert_file".into(), path(certificate)));
        entries.push(("key_file".into(), path(key)));
    }
    entries.extend(tls.server_name.as_ref().map(|name| ("server_name".to_owned(), text(name))));
    // Not every `tls_config` has this key.
    if tls.insecure_skip_verify {
        entries.push(("insecure_skip_verify".into(), true.into()));
    }
    if *tls != Tls::default() {
        entries.push(("min_version".into(), tls.min_version.text().into()));
    }
    (!entries.is_empty()).then(|| ("tls_config".to_owned(), map(entries)))
}

/// `basic_auth` or `authorization`.
pub(super) fn login(login: &Login) -> (String, Value) {
    match login {
        Login::Basic { username, password } => {
            let login = map([("username".to_owned(), text(username)), secret("password", password)]);
            ("basic_auth".into(), login)
        }
        Login::Header { scheme, credentials } => {
            let login = map([("type".to_owned(), text(scheme)), secret("credentials", credentials)]);
            ("authorization".into(), login)
        }
    }
}
