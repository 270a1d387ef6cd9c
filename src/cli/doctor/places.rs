//! What a configuration names: whom it speaks to, and files. Pure.

use super::expiry::Whose;
use crate::{
    actions,
    client::{Login, Tls},
    config::Config,
    deliver::{Kind, Reach},
    http::WebConfig,
    model::Secret,
};
use hyper::Uri;
use std::path::PathBuf;

/// Properties of librdkafka that name a file with certificates.
const CERTIFICATES: [(&str, Whose); 2] =
    [("ssl.ca.location", Whose::Authorities), ("ssl.certificate.location", Whose::Ours)];
/// Properties of librdkafka that name a file with a secret in it.
const KEYS: [&str; 3] = ["ssl.key.location", "ssl.keystore.location", "sasl.kerberos.keytab"];

/// Where somebody is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Address {
    /// There.
    At(String, u16),
    /// By a URL, which is not shown.
    Url(Secret),
}

/// What a configuration names; each with its key.
#[derive(Debug, Default)]
pub(super) struct Places {
    /// Who is told of alerts and asked for actions.
    pub(super) receivers: Vec<(String, Address)>,
    /// Files that only the agent's user should read.
    pub(super) secrets: Vec<(String, PathBuf)>,
    /// Files of certificates.
    pub(super) certificates: Vec<(String, PathBuf, Whose)>,
    /// Keys of secrets that agent.yaml itself holds.
    pub(super) inline: Vec<String>,
}

impl Places {
    /// All of them.
    pub(super) fn of(config: &Config, web: Option<&WebConfig>) -> Self {
        let mut places = Self::default();
        places.kafka(config);
        for page in &config.jmx {
            let key = format!("jmx {}", page.name);
            places.login(&key, page.login.as_ref());
            places.tls(&key, &page.tls);
        }
        for notifier in &config.notify {
            let key = format!("notify {}", notifier.name);
            places.login(&key, notifier.login.as_ref());
            places.notifier(&key, &notifier.kind, &notifier.reach);
        }
        for action in &config.actions {
            places.action(&format!("actions.{}", action.name), action);
        }
        if let (Some(web), Some(file)) = (web, &config.http.web_config_file) {
            places.web(web, file.clone());
        }
        places
    }

    fn kafka(&mut self, config: &Config) {
        for (name, value) in config.kafka.iter().flat_map(|kafka| &kafka.properties) {
            let key = format!("kafka.properties.{name}");
            let sensitive = ["password", "passphrase", "secret", "ssl.key.pem"].iter().any(|word| name.contains(word));
            match value {
                Secret::File(path) => self.secrets.push((format!("{key}_file"), path.clone())),
                Secret::Inline(path) if KEYS.contains(&name.as_str()) => self.secrets.push((key, path.into())),
                Secret::Inline(path) => {
                    let whose = CERTIFICATES.iter().find(|(known, _)| known == name);
                    match whose {
                        Some((_, whose)) if path != "probe" => self.certificates.push((key, path.into(), *whose)),
                        _ if sensitive => self.inline.push(key),
                        _ => {}
                    }
                }
            }
        }
    }

    fn notifier(&mut self, key: &str, kind: &Kind, reach: &Reach) {
        self.tls(key, &reach.tls);
        match kind {
            Kind::Alertmanager { urls } => urls.iter().for_each(|url| self.receiver(key, at(url), reach)),
            Kind::Webhook { url, .. } | Kind::Slack { webhook_url: url, .. } => {
                self.secret(format!("{key} url"), url);
                self.receiver(key, Address::Url(url.clone()), reach);
            }
            Kind::PagerDuty { routing_key, url, .. } => {
                self.secret(format!("{key} routing_key"), routing_key);
                self.receiver(key, at(url), reach);
            }
            Kind::Email(mail) => {
                if let Some((_, password)) = &mail.login {
                    self.secret(format!("{key} auth_password"), password);
                }
                self.receiver(key, Address::At(mail.smarthost.0.clone(), mail.smarthost.1), reach);
            }
            Kind::Log => {}
        }
    }

    fn action(&mut self, key: &str, action: &actions::Config) {
        match &action.kind {
            actions::Kind::Exec(exec) => {
                for (name, value) in &exec.environment {
                    // What is written there may be a secret, or not; what is in a file is.
                    if let Secret::File(path) = value {
                        self.secrets.push((format!("{key}.environment.{name}_file"), path.clone()));
                    }
                }
            }
            actions::Kind::Webhook(webhook) => {
                self.secret(format!("{key} url"), &webhook.url);
                self.login(key, webhook.login.as_ref());
                self.tls(key, &webhook.reach.tls);
                self.receiver(key, Address::Url(webhook.url.clone()), &webhook.reach);
            }
            actions::Kind::Produce { .. } => {}
        }
    }

    fn web(&mut self, web: &WebConfig, file: PathBuf) {
        if let Some(tls) = &web.tls {
            if let Secret::File(path) = &tls.certificate {
                self.certificates.push(("web_config_file cert_file".to_owned(), path.clone(), Whose::Ours));
            }
            if let Secret::File(path) = &tls.key {
                self.secrets.push(("web_config_file key_file".to_owned(), path.clone()));
            }
            if let Some(Secret::File(path)) = &tls.client_ca {
                self.certificates.push(("web_config_file client_ca_file".to_owned(), path.clone(), Whose::Authorities));
            }
        }
        let holds = web.tls.as_ref().is_some_and(|tls| matches!(tls.key, Secret::Inline(_)));
        if holds || !web.users.is_empty() {
            self.secrets.push(("http.web_config_file".to_owned(), file));
        }
    }

    /// Straight, or by its proxy.
    fn receiver(&mut self, key: &str, address: Address, reach: &Reach) {
        self.receivers.push(match &reach.proxy {
            Some(proxy) => (format!("{key} proxy_url"), at(proxy)),
            None => (key.to_owned(), address),
        });
    }

    fn login(&mut self, key: &str, login: Option<&Login>) {
        match login {
            Some(Login::Basic { password, .. }) => self.secret(format!("{key} password"), password),
            Some(Login::Header { credentials, .. }) => self.secret(format!("{key} credentials"), credentials),
            None => {}
        }
    }

    fn tls(&mut self, key: &str, tls: &Tls) {
        if let Some(file) = &tls.ca_file {
            self.certificates.push((format!("{key} ca_file"), file.clone(), Whose::Authorities));
        }
        if let Some((certificate, private)) = &tls.certificate {
            self.certificates.push((format!("{key} cert_file"), certificate.clone(), Whose::Ours));
            self.secrets.push((format!("{key} key_file"), private.clone()));
        }
    }

    fn secret(&mut self, key: String, secret: &Secret) {
        match secret {
            Secret::File(path) => self.secrets.push((key, path.clone())),
            Secret::Inline(_) => self.inline.push(key),
        }
    }
}

/// Host and port of a URL.
pub(super) fn at(url: &Uri) -> Address {
    let port = url.port_u16().unwrap_or(if url.scheme_str() == Some("https") { 443 } else { 80 });
    Address::At(bare(url.host().unwrap_or_default()).to_owned(), port)
}

/// Host and port of each bootstrap server, which a configuration has checked.
pub(super) fn servers(list: &str) -> Vec<(String, u16)> {
    let server = |server: &str| {
        let (host, port) = server.trim().rsplit_once(':')?;
        Some((bare(host).to_owned(), port.parse().ok()?))
    };
    list.split(',').filter_map(server).collect()
}

/// An IPv6 address without its brackets.
pub(super) fn bare(host: &str) -> &str {
    host.trim_start_matches('[').trim_end_matches(']')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_is_named_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("agent.yaml");
        let yaml = "
kafka:
  properties: {security.protocol: SASL_SSL, sasl.mechanism: PLAIN, sasl.username: u, sasl.password_file: /kafka,
    ssl.ca.location: /ca, ssl.certificate.location: /cert, ssl.key.location: /key, ssl.key.password: inline}
jmx:
  - {name: broker, url: 'https://localhost:9094/metrics', tls_config: {ca_file: /jmx-ca}, basic_auth: {username: u, password_file: /jmx}}
notify:
  - {name: am, type: alertmanager, urls: ['http://[::1]:9093', 'https://am.example/x']}
  - {name: hook, type: webhook, url_file: /hook}
  - {name: far, type: webhook, url: 'https://far.example/token', proxy_url: 'http://proxy:3128'}
actions:
  tell: {type: webhook, url: 'https://tickets.example:8443/token'}
";
        std::fs::write(&path, yaml).unwrap();
        let config = crate::config::load(&path, &|_| None).unwrap_or_else(|error| panic!("{error}"));
        let places = Places::of(&config, None);
        let receivers: Vec<_> = places.receivers.iter().map(|(key, address)| format!("{key} {address:?}")).collect();
        assert_eq!(
            receivers,
            [
                r#"notify am At("::1", 9093)"#,
                r#"notify am At("am.example", 443)"#,
                "notify hook Url(file /hook)",
                r#"notify far proxy_url At("proxy", 3128)"#,
                "actions.tell Url(***)",
            ]
        );
        let mut secrets: Vec<_> = places.secrets.iter().map(|(_, path)| path.to_str().unwrap()).collect();
        secrets.sort_unstable();
        assert_eq!(secrets, ["/hook", "/jmx", "/kafka", "/key"]);
        let mut certificates: Vec<_> =
            places.certificates.iter().map(|(_, path, whose)| (path.to_str().unwrap(), *whose)).collect();
        certificates.sort_unstable_by_key(|(path, _)| *path);
        assert_eq!(
            certificates,
            [("/ca", Whose::Authorities), ("/cert", Whose::Ours), ("/jmx-ca", Whose::Authorities)]
        );
        assert_eq!(places.inline, ["kafka.properties.ssl.key.password", "notify far url", "actions.tell url"]);
        assert_eq!(servers("a:1, [::1]:2"), [("a".to_owned(), 1), ("::1".to_owned(), 2)]);
    }
}
