//! `notify:`: what is taken of it, and what is said about the rest.

use super::*;
use crate::{
    client::Login,
    deliver::{Kind, Rate},
};
use std::time::Duration;

/// Every key of every kind.
const ALL: &str = r#"kafka: {}
notify:
  - {name: am, type: alertmanager, urls: ["https://a:9093/b"], match: ['severity="critical"', "team=~'a|b', x!=\"y\""], rate: 3 per 1s,
     basic_auth: {username: u, password_file: pw}, proxy_url: "http://proxy:3128",
     tls_config: {ca_file: ca.pem, cert_file: c.pem, key_file: c.key, server_name: am.example.com, min_version: TLS13}}
  - {name: hook, type: webhook, url_file: hook, payload: '{"s": {{ status }}}', authorization: {type: Token, credentials_file: t}, repeat: 1h30m}
  - {name: bearer, type: webhook, url_file: hook, authorization: {credentials_file: t}}
  - {name: chat, type: slack, webhook_url_file: s, title: "{{ status }}", text: "<!here> {{ commonLabels.a }}", repeat: 4h}
  - {name: pager, type: pagerduty, routing_key_file: k, url: "http://pd", title: "{{ status }}", text: "{{ firing }}", rate: 5 per 1h}
  - name: mail
    type: email
    smarthost: "[::1]:465"
    from: "Warden & Co <w@example.com>"
    to: ["ops@example.com", "Dev <dev@example.com>"]
    hello: agent.example.com
    auth_username: u
    auth_password_file: p
    require_tls: false
    title: "{{ status }}"
    text: "{{ status }}"
    html: "<b>{{ status }}</b>"
    tls_config: {ca_file: ca.pem}
  - {name: mail2, type: email, smarthost: "mail:25", from: a@b.c, to: [d@e.f]}
  - {name: log, type: log, match: ['a="b"'], repeat: 1m}
"#;

#[test]
fn every_key_of_every_kind_is_taken_and_reads_back_as_itself() {
    let config = good(ALL);
    let shown = effective(&config);
    // Paths are absolute by now, so that it may be read from anywhere.
    let again = good(&shown);
    assert_eq!(config.notify, again.notify);
    assert_eq!(effective(&again), shown);
    let of = |name: &str| config.notify.iter().find(|notifier| notifier.name == name).unwrap();
    assert_eq!(of("am").rate, Some(Rate { messages: 3, per: Duration::from_secs(1) }));
    assert_eq!(of("hook").rate, None);
    assert_eq!(of("chat").rate, Some(Rate { messages: 1, per: Duration::from_secs(1) }));
    assert!(matches!(&of("bearer").login, Some(Login::Header { scheme, .. }) if scheme == "Bearer"));
    assert_eq!((of("chat").wants.repeat, of("mail").wants.repeat), (Some(Duration::from_hours(4)), None));
    let Kind::Email(mail) = &of("mail2").kind else { panic!() };
    assert!(mail.require_tls && mail.login.is_none() && mail.hello == "localhost");
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    let notify = |text: &str, problem: &str| check(&format!("notify: [{{name: a, {text}}}]"), problem);
    notify("type: slack", "notify[0].webhook_url: missing; allowed: a URL, or webhook_url_file with a path");
    notify(
        "type: slack, webhook_url: 'ftp://hunter2'",
        "notify[0].webhook_url: found text (not shown); allowed: a URL such as https://example.com/hook, without credentials",
    );
    notify(
        "type: slack, webhok_url: x, webhook_url_file: y",
        "notify[0].webhok_url: unknown key; did you mean `webhook_url`?",
    );
    notify(
        "type: pagerduty, routing_key: ''",
        "notify[0].routing_key: found text (not shown); allowed: the integration's key",
    );
    notify(
        "type: log, match: ['a=b']",
        "notify[0].match[0]: found \"a=b\"; allowed: matchers such as severity=\"critical\", team=~\"a|b\" \
         (at byte 2 of it: expected a string in quotes)",
    );
    notify(
        "type: alertmanager, urls: ['http://a'], repeat: 4h",
        "notify[0].repeat: not for alertmanager, which repeats by its own `repeat_interval`",
    );
    notify(
        "type: log, repeat: 1s",
        "notify[0].repeat: found \"1s\"; allowed: a duration from 1m to 365d, such as 500ms, 5s or 1h30m",
    );
    for bad in ["1", "'0 per 1s'", "1 per 1ms", "per 1s", "-1 per 1s", "1per1s", "20000 per 1s"] {
        let found = bad_line(&format!("type: webhook, url_file: x, rate: {bad}"));
        assert!(found.starts_with("notify[0].rate: found ") && found.contains("`20 per 1m`"), "{found}");
    }
    for (template, part) in
        [("'{{ status'", "syntax error"), ("'{{ labls }}'", "unknown name `labls`; known: alerts, ")]
    {
        let found = bad_line(&format!("type: slack, webhook_url_file: x, text: {template}"));
        assert!(found.starts_with("notify[0].text: the template cannot be used: ") && found.contains(part), "{found}");
    }
    let found = bad_line("type: slack, webhook_url_file: x, text: '{{ ${SECRET} }}'");
    assert!(found.ends_with("allowed: a template that can be used") && !found.contains("hunter2"), "{found}");
    let found = bad_line("type: webhook, url_file: x, payload: '{{ status }'");
    assert!(found.starts_with("notify[0].payload: the template cannot be used"), "{found}");
    notify(
        "type: webhook, url_file: x, basic_auth: {username: a, password: b}, authorization: {credentials: c}",
        "notify[0].basic_auth: both basic_auth and authorization are there; allowed: one of them",
    );
    notify(
        "type: webhook, url_file: x, basic_auth: {username: a}",
        "notify[0].basic_auth.password: missing; allowed: a password, or password_file with a path",
    );
    notify(
        "type: webhook, url_file: x, tls_config: {cert_file: c}",
        "notify[0].tls_config: only one of cert_file and key_file is there; allowed: both or none",
    );
    notify(
        "type: webhook, url_file: x, tls_config: {insecure_skip_verify: true}",
        "notify[0].tls_config.insecure_skip_verify: unknown key; allowed: ca_file, cert_file, key_file, server_name, \
         min_version",
    );
    let found = bad_line("type: webhook, url_file: x, proxy_url: 'http://u:hunter2@p'");
    assert!(found.starts_with("notify[0].proxy_url: found text (not shown)"), "{found}");
}

#[test]
fn a_mail_goes_from_and_to_addresses_by_a_host_and_a_port() {
    let good_keys = "type: email, smarthost: 'mail:25', from: a@b.c, to: [d@e.f]";
    for (from, to, path) in [
        ("smarthost: 'mail:25'", "smarthost: mail", "smarthost"),
        ("smarthost: 'mail:25'", "smarthost: 'mail:0'", "smarthost"),
        ("smarthost: 'mail:25'", "smarthost: \"ma\\nil:25\"", "smarthost"),
        ("from: a@b.c", "from: nobody", "from"),
        ("from: a@b.c", "from: \"a@b.c\\r\\nBcc: x@y.z\"", "from"),
        ("from: a@b.c", "from: \"ä@b.c\"", "from"),
        ("[d@e.f]", "[]", "to"),
        ("[d@e.f]", "['d@e.f, g@h.i']", "to[0]"),
        ("[d@e.f]", "['d@e.f'], hello: 'a b'", "hello"),
        ("[d@e.f]", "['d@e.f'], require_tls: 1", "require_tls"),
        ("[d@e.f]", "['d@e.f'], auth_username: u", "auth_password"),
        ("[d@e.f]", "['d@e.f'], auth_password: u", "auth_username"),
    ] {
        let found = bad_line(&good_keys.replace(from, to));
        assert!(found.starts_with(&format!("notify[0].{path}: ")) && found.lines().count() == 1, "{to}: {found}");
    }
    good(&format!("kafka: {{}}\nnotify: [{{name: a, {good_keys}}}]"));
}

#[track_caller]
fn bad_line(text: &str) -> String {
    bad(format!("kafka: {{}}\nnotify: [{{name: a, {text}}}]"))
}
