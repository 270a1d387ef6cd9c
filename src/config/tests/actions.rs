//! `actions:` and `rules[].actions`: what is taken of them, and what is said about the rest.

use super::*;
use crate::{
    actions::Kind,
    pipeline::{ActionRate, Grants},
};
use std::time::Duration;

/// Every key of every type.
const ALL: &str = r#"kafka: {}
rules: [{name: a, actions: [restart, open-ticket]}, {name: b}]
notify: [{name: am, type: alertmanager, urls: ["http://a:9093"], authorization: {credentials_file: t}}]
actions:
  open-ticket:
    type: webhook
    url_file: hook
    params: {group: "[A-Za-z0-9._-]+"}
    rate: {per_key: 2 per 1m, total: 100 per 1d}
    timeout: 3s
    dry_run: true
    concurrency: 16
    unless_silenced: am
    proxy_url: "http://proxy:3128"
    tls_config: {ca_file: ca.pem}
    basic_auth: {username: u, password_file: pw}
  restart:
    type: exec
    command: [/usr/local/bin/restart, "{{group}}", "--by={{ who }}", "$${HOME}"]
    params: {group: "[a-z]+", who: ".*"}
    environment: {PATH: /bin, TOKEN_file: token}
  tell:
    type: produce
    topic: my.deeds_1-a
    params: {group: ".*"}
"#;

#[test]
fn every_key_of_every_type_is_taken_and_reads_back_as_itself() {
    let config = good(ALL);
    let shown = effective(&config);
    assert!(shown.contains("PATH: '***'"), "{shown}");
    let again = good(&shown.replace("PATH: '***'", "PATH: /bin"));
    assert_eq!(config.actions, again.actions);
    assert_eq!(config.rules.rules, again.rules.rules);
    assert_eq!(effective(&again), shown);
    let [ticket, restart, tell] = &config.actions[..] else { panic!("{:?}", config.actions) };
    assert_eq!(config.rules.rules[0].1.actions, Grants::from(["restart".into(), "open-ticket".into()]));
    assert!(config.rules.rules[1].1.actions.is_empty(), "nothing is granted by default");
    assert_eq!(ticket.policy.total, ActionRate { count: 100, per: Duration::from_hours(24) });
    assert_eq!((ticket.timeout, ticket.dry_run, ticket.concurrency), (Duration::from_secs(3), true, 16));
    let silencer = ticket.unless_silenced.as_ref().unwrap();
    assert!(silencer.name == "am" && silencer.urls.len() == 1 && silencer.login.is_some());
    let Kind::Exec(exec) = &restart.kind else { panic!() };
    let arguments: Vec<_> = exec.arguments.iter().map(crate::actions::Argument::text).collect();
    assert_eq!(arguments, ["{{group}}", "--by={{who}}", "${HOME}"]);
    assert!(matches!(&exec.environment["TOKEN"], Secret::File(path) if path.ends_with("token")));
    assert_eq!(restart.policy.per_key, ActionRate { count: 1, per: Duration::from_mins(10) });
    assert_eq!(restart.policy.total, ActionRate { count: 20, per: Duration::from_hours(1) });
    assert_eq!((restart.timeout, restart.dry_run, restart.concurrency), (Duration::from_secs(10), false, 1));
    assert_eq!((&tell.kind, tell.concurrency), (&Kind::Produce { topic: "my.deeds_1-a".into() }, 4));
    let group = &ticket.policy.params["group"].pattern;
    assert!(group.is_match("a.b-c") && !group.is_match("a b") && !group.is_match("a\n"), "all of it must match");
}

#[test]
fn a_dash_comes_first_only_where_the_pattern_says_so() {
    for (pattern, dash) in [
        ("[a-z]+", false),
        (".*", false),
        ("[-a]+", false),
        ("a|-b", false),
        ("-[a-z]+", true),
        (r"\\-v", true),
        ("^-v", true),
        ("(-v|-q)", true),
        ("^(?:-v)", true),
    ] {
        let one = |kind: &str| {
            let text = format!("kafka: {{}}\nactions: {{a: {{{kind}, params: {{p: \"{pattern}\"}}}}}}");
            good(&text).actions[0].policy.params["p"].dash
        };
        assert_eq!(one("type: exec, command: [/bin/x, '{{p}}']"), dash, "{pattern}");
        assert!(one("type: produce, topic: t"), "no program, no options");
    }
}

#[track_caller]
fn action(text: &str, problem: &str) {
    check(&format!("actions: {{a: {{{text}}}}}"), problem);
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    action("type: exce", "actions.a.type: found \"exce\"; allowed: exec, produce, webhook; did you mean `exec`?");
    action("dry_run: true", "actions.a.type: missing; allowed: exec, produce, webhook");
    action("type: webhook", "actions.a.url: missing; allowed: a URL, or url_file with a path");
    action(
        "type: webhook, url_file: x, comand: [a]",
        "actions.a.comand: unknown key; allowed: type, params, url, url_file, \
            proxy_url, tls_config, basic_auth, authorization, rate, timeout, dry_run, concurrency, unless_silenced",
    );
    action("type: exec, command: [/bin/x], comand: [a]", "actions.a.comand: unknown key; did you mean `command`?");
    action(
        "type: exec",
        "actions.a.command: missing; allowed: a program and its arguments such as [/usr/local/bin/restart, \"{{group}}\"]",
    );
    action("type: exec, command: []", "actions.a.command: found 0 items; allowed: a program, and at most 64 arguments");
    for bad in ["restart", "./restart", "'/bin/{{p}}'"] {
        let shown = bad.trim_matches('\'');
        action(
            &format!("type: exec, command: [{bad}]"),
            &format!(
                "actions.a.command[0]: found \"{shown}\"; allowed: the absolute path of a program, without `{{` and `}}`"
            ),
        );
    }
    let exec = "type: exec, command: [/bin/x, '{{group}}']";
    action(exec, "actions.a.command[1]: `{{group}}` is no parameter; declare it under `params:`");
    action(
        &format!("{exec}, params: {{grop: a}}"),
        "actions.a.command[1]: `{{group}}` is no parameter; did you mean `{{grop}}`?\n\
         actions.a.params.grop: no argument of `command` uses it, so that asking for it would change nothing",
    );
    action(
        "type: exec, command: [/bin/x, '{{group'], params: {group: a}",
        "actions.a.command[1]: `{{` without `}}`; allowed: text with places such as `{{group}}`",
    );
    action(
        &format!("{exec}, params: {{group: '('}}"),
        "actions.a.params.group: found \"(\"; allowed: a regex (unclosed group)",
    );
    action(
        &format!("{exec}, params: {{group: a}}, environment: {{BROKERWARDEN_KEY: x, A-B: y}}"),
        "actions.a.environment.BROKERWARDEN_KEY: a name that is ours: we set those that begin with BROKERWARDEN_\n\
         actions.a.environment.A-B: not the name of a variable; allowed: letters, digits and `_`",
    );
    action(
        &format!("{exec}, params: {{group: a}}, environment: {{A: x, A_file: y}}"),
        "actions.a.environment.A: both A and A_file are there; allowed: one of them",
    );
    for bad in ["1", "0 per 1h", "1 per 1ms", "1 per 8d", "per 1h", "-1 per 1h", "20000 per 1h"] {
        action(
            &format!("type: produce, topic: t, rate: {{per_key: {bad}}}"),
            &format!(
                "actions.a.rate.per_key: found {}; allowed: how many in which time such as `1 per 10m`, 1 to 10000 of them, in 1s to 7d",
                if bad == "1" { "the number 1".to_owned() } else { format!("\"{bad}\"") }
            ),
        );
    }
    action(
        "type: produce, topic: t, rate: {perkey: 1 per 1h}",
        "actions.a.rate.perkey: unknown key; did you mean `per_key`?",
    );
    action(
        "type: produce, topic: t, concurrency: 17",
        "actions.a.concurrency: found the number 17; allowed: a whole number from 1 to 16",
    );
    action(
        "type: produce, topic: t, timeout: 1ms",
        "actions.a.timeout: found \"1ms\"; allowed: a duration from 100ms to 10m, such as 500ms, 5s or 1h30m",
    );
    for bad in ["''", "a b", "..", "__consumer_offsets", "'{{group}}'"] {
        let found = bad_action(&format!("type: produce, topic: {bad}"));
        assert!(found.starts_with("actions.a.topic: found ") && found.contains("begin with `__`"), "{found}");
    }
    assert_eq!(
        bad("jmx: [{name: a, url: 'http://a'}]\nactions: {a: {type: produce, topic: t}}"),
        "actions.a.type: `produce` needs `kafka:`, and there is none"
    );
    check(
        "actions: {a/b: {type: log}}",
        "actions[\"a/b\"]: not a name; allowed: 1 to 64 letters, digits, `.`, `_` and `-`, beginning with none of `.` and `-`",
    );
    let found = bad_action("type: webhook, url: 'https://u:hunter2@x/'");
    assert!(!found.contains("hunter2"), "{found}");
}

#[track_caller]
fn bad_action(text: &str) -> String {
    bad(format!("kafka: {{}}\nactions: {{a: {{{text}}}}}"))
}

#[test]
fn what_is_named_must_be_there() {
    let with = |rest: &str| format!("actions: {{restart: {{type: produce, topic: t}}}}\n{rest}");
    check(
        &with("rules: [{name: a, actions: [retsart]}]"),
        "rules[0].actions[0]: \"retsart\" is no action; did you mean `restart`?",
    );
    check(
        &with("rules: [{name: a, actions: [other]}]"),
        "rules[0].actions[0]: \"other\" is no action; there are: restart",
    );
    check(
        "rules: [{name: a, actions: [b]}]",
        "rules[0].actions[0]: \"b\" is no action; there is none under `actions:`",
    );
    check(
        "rules: [{name: a, actions: b}]",
        "rules[0].actions: found \"b\"; allowed: a list (`[a, b]`, or lines that begin with `- `)",
    );
    let silenced =
        |notify: &str| format!("notify: [{notify}]\nactions: {{a: {{type: produce, topic: t, unless_silenced: am}}}}");
    check(
        &silenced("{name: am, type: log}"),
        "actions.a.unless_silenced: \"am\" is no notifier of type alertmanager; there is none under `notify:`",
    );
    check(
        &silenced("{name: a, type: alertmanager, urls: ['http://a']}"),
        "actions.a.unless_silenced: \"am\" is no notifier of type alertmanager; did you mean `a`?",
    );
}
