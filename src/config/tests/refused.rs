//! What is refused, and what is said about it.

use super::*;
use std::time::Duration;

#[test]
fn all_problems_are_told_at_once() {
    let found = bad(fs::read(repository_file("tests/data/config/bad.yaml")).expect("bad.yaml")) + "\n";
    let golden = repository_file("tests/data/config/bad.txt");
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&golden, &found).expect("golden file written");
    }
    assert_eq!(found, fs::read_to_string(golden).expect("golden file"), "run with UPDATE=1 to accept");
    assert!(!found.contains("hunter2"), "a secret is shown");
}

#[test]
fn files_that_are_no_configuration() {
    let missing = load(Path::new("/nowhere/agent.yaml"), &environment).expect_err("missing");
    assert_eq!(missing.to_string(), "cannot read configuration file /nowhere/agent.yaml");
    let source = std::error::Error::source(&missing).expect("a cause").to_string();
    assert!(source.contains("No such file"), "{source}");
    assert!(matches!(load(Path::new("/"), &environment), Err(LoadError::Read { .. })));

    let nothing = "agent.yaml: nothing to collect from; allowed: kafka, jmx or both";
    for empty in ["", "\n\n", "# only a comment\n", "---\n", "jmx: []\n", "cluster: a\njmx:\n"] {
        assert_eq!(bad(empty), nothing, "{empty:?}");
    }
    assert_eq!(bad("- a\n"), "agent.yaml: found a list at the top; allowed: a mapping (`key: value`)");
    assert_eq!(bad("hello"), "agent.yaml: found text at the top; allowed: a mapping (`key: value`)");
    assert_eq!(
        bad("kafka:\n"),
        "kafka: found nothing; allowed: a mapping (`kafka: {}` for all defaults), or no such key"
    );
    assert_eq!(bad(b"cluster: \xff\n"), "agent.yaml: not UTF-8 at byte 9");
    assert_eq!(bad("kafka: {}\n---\nkafka: {}\n"), "agent.yaml: more than one YAML document (`---`); allowed: one");
    let tab = bad("kafka:\n\tinterval: 5s\n");
    assert!(tab.contains(" at line 2 column 1") && tab.ends_with("(indent with spaces, not tabs)"), "{tab}");
    let open = bad("kafka: {}\njmx: [\n");
    assert!(open.contains(" at line 3 column 1"), "{open}");
    let tag = bad("kafka: !secret {}\n");
    assert!(tag.contains("no tag") && tag.contains("line 1"), "{tag}");
    let anchor = bad("kafka: *gone\n");
    assert!(anchor.contains("unknown anchor at line 1"), "{anchor}");
    assert_eq!(bad("kafka: {}\nkafka: {}\n"), "kafka: the key is there twice");
    check("1: x", "top level: found a number as a key; allowed: text (quote it)");
    check(
        "<<: {}",
        "[\"<<\"]: unknown key; allowed: cluster, data_dir, http, kafka, jmx, metrics, rules_dir, rules, notify, actions",
    );
}

#[test]
fn bombs_are_refused_in_time_and_space() {
    let level = |level: usize| format!("a{level}: &a{level} [{}]\n", format!("*a{}, ", level - 1).repeat(7));
    let aliases = format!("a0: &a0 [{}]\n", "x, ".repeat(50)) + &(1..12).map(level).collect::<Vec<_>>().concat();
    assert!(bad(aliases).contains("more than 100000 nodes"));
    let long = format!("a: &a {}\nb: [{}]\n", "x".repeat(100_000), "*a, ".repeat(1000));
    assert!(bad(long).contains("bytes of text, aliases expanded"));
    assert!(bad("[".repeat(1000)).contains("at line"));
    assert!(bad("[".repeat(1 << 20)).contains("more than 10000 `[`"));
    assert!(bad(format!("{}x{}", "[".repeat(40), "]".repeat(40))).contains("nested deeper than 32"));
    assert!(bad("- ".repeat(1 << 19)).contains("nested deeper than 32"));
    assert!(bad("? ".repeat(1 << 19)).contains("nested deeper than 32"));
    assert!(bad("- a\n".repeat(1 << 18)).contains("more than 100000 nodes"));
    let recursive = bad("a: &a [*a]\n");
    assert!(recursive.contains("nested deeper") || recursive.contains("repetition limit"), "{recursive}");
    let large = "#".repeat((1 << 20) + 1);
    assert_eq!(bad(large), "agent.yaml: the file is too large; allowed: at most 1048576 bytes");
    // The worst that fits: as many open brackets as allowed, then as many tokens as the file holds.
    assert!(bad(format!("{}{}", "[".repeat(9_999), "a,".repeat(500_000))).contains("at line"));
    check(&format!("cluster: {}", "${LONG}".repeat(11)), "cluster: variables bring in more than 1048576 bytes");
}

#[test]
fn unknown_keys_get_a_suggestion_at_each_level() {
    check("jmxs: []", "jmxs: unknown key; did you mean `jmx`?");
    check("http: {listne: x}", "http.listne: unknown key; did you mean `listen`?");
    check("metrics: {maxSeries: 1}", "metrics.maxSeries: unknown key; did you mean `max_series`?");
    check("jmx: [{name: a, url: 'http://a', time_out: 1s}]", "jmx[0].time_out: unknown key; did you mean `timeout`?");
    check("rules: [{name: a, fro: 1s}]", "rules[0].fro: unknown key; did you mean `for`?");
    check("rules: [{name: a, limits: {memry: 1MiB}}]", "rules[0].limits.memry: unknown key; did you mean `memory`?");
    check("rules: [{name: a, reads: {group: []}}]", "rules[0].reads.group: unknown key; did you mean `groups`?");
    check("notify: [{name: a, type: log, repaet: 1}]", "notify[0].repaet: unknown key; did you mean `repeat`?");
    check(
        "notify: [{name: a, type: log, urls: []}]",
        "notify[0].urls: unknown key; allowed: name, type, match, repeat",
    );
    assert_eq!(bad("kafka: {intervall: 1s}"), "kafka.intervall: unknown key; did you mean `interval`?");
    assert_eq!(bad("kafka: {topics: {includes: []}}"), "kafka.topics.includes: unknown key; did you mean `include`?");
    assert_eq!(
        bad("kafka: {bootstrap.servers: a}"),
        "kafka[\"bootstrap.servers\"]: unknown key; did you mean `bootstrap_servers`?"
    );
}

/// Every key of the contract, with where it goes: `%` is the value.
const KEYS: &[&str] = &[
    "cluster: %",
    "data_dir: %",
    "http: %",
    "http: {listen: %}",
    "http: {web_config_file: %}",
    "kafka: %",
    "kafka: {bootstrap_servers: %}",
    "kafka: {scope: %}",
    "kafka: {broker_id: %}",
    "kafka: {offsets: %}",
    "kafka: {replay_max_records: %}",
    "kafka: {interval: %}",
    "kafka: {timeout: %}",
    "kafka: {groups: %}",
    "kafka: {groups: {include: %}}",
    "kafka: {topics: {exclude: %}}",
    "kafka: {inactive_groups: %}",
    "kafka: {properties: %}",
    "kafka: {properties: {sasl.password: %}}",
    "kafka: {properties: {sasl.password_file: %}}",
    "jmx: %",
    "jmx: [%]",
    "jmx: [{name: %, url: 'http://a'}]",
    "jmx: [{name: a, url: %}]",
    "jmx: [{name: a, url: 'http://a', max_size: %}]",
    "jmx: [{name: a, url: 'http://a', keep: %}]",
    "jmx: [{name: a, url: 'http://a', labels: %}]",
    "jmx: [{name: a, url: 'http://a', basic_auth: %}]",
    "jmx: [{name: a, url: 'http://a', authorization: %}]",
    "jmx: [{name: a, url: 'http://a', tls_config: %}]",
    "metrics: %",
    "metrics: {compatibility: %}",
    "metrics: {max_series: %}",
    "rules_dir: %",
    "rules: %",
    "rules: [{name: a, module: %}]",
    "rules: [{name: a, for: %}]",
    "rules: [{name: a, labels: {b: %}}]",
    "rules: [{name: a, limits: %}]",
    "rules: [{name: a, limits: {state: %}}]",
    "rules: [{name: a, shadow: %}]",
    "notify: %",
    "notify: [{name: a, type: %}]",
    "notify: [{name: a, type: alertmanager, urls: %}]",
    "notify: [{name: a, type: webhook, url: %}]",
    "actions: %",
    "actions: {a: %}",
    "actions: {a: {type: %}}",
    "actions: {a: {type: exec, command: %}}",
    "actions: {a: {type: exec, command: [/bin/x, %]}}",
    "actions: {a: {type: exec, command: [/bin/x], environment: %}}",
    "actions: {a: {type: produce, topic: t, params: %}}",
    "actions: {a: {type: produce, topic: t, rate: %}}",
    "actions: {a: {type: produce, topic: t, unless_silenced: %}}",
];

#[test]
fn wrong_types_are_problems_everywhere() {
    for key in KEYS {
        for wrong in ["1.5", "[[1]]", "{x: [1]}", "-1", "99999999999999999999999999999"] {
            let text = key.replace('%', wrong);
            let text = if key.starts_with("kafka") { text } else { format!("kafka: {{}}\n{text}") };
            let found = bad(&text);
            assert!(found.contains(key.split([':', ' ']).next().unwrap_or_default()), "{text} gave {found}");
        }
        // Nothing: the default, or a problem; never a panic.
        drop(loaded(key.replace('%', "null")));
    }
}

#[test]
fn what_is_not_built_yet_is_refused() {
    for wrong in ["00", "'00'", "'sha256:00'"] {
        let found = bad(format!("kafka: {{}}\nrules: [{{name: a, sha256: {wrong}}}]"));
        assert!(found.contains("rules[0].sha256: found") && found.contains("64 hex digits"), "{found}");
    }
    check("rules: [{name: a, reads: {topics: [b]}}]", "rules[0].reads.topics: not supported yet; allowed: [\".*\"]");
    good(
        "kafka: {scope: broker, offsets: topic, inactive_groups: keep}\nhttp: {web_config_file: null}\nactions: {}\n\
          rules: [{name: a, actions: [], sha256: ~, shadow: false, reads: {groups: ['.*']}}]\n\
          notify: [{name: a, type: log, match: [], repeat: null}]",
    );
}

#[test]
fn properties_of_ours_are_refused() {
    for (name, reason) in OWNED_PROPERTIES {
        let path = format!("kafka.properties[\"{name}\"]");
        assert_eq!(bad(format!("kafka: {{properties: {{{name}: x}}}}")), format!("{path}: not yours to set: {reason}"));
    }
    assert!(bad("kafka: {properties: {group.id_file: x}}").contains("an agent joins no group"));
    assert!(bad("kafka: {properties: {rebalance_cb: x}}").contains("a pointer"));
    assert!(bad("kafka: {properties: {'a b': x}}").contains("not the name of a librdkafka property"));
}

#[test]
fn properties_that_librdkafka_does_not_take_are_all_named() {
    assert_eq!(
        bad("kafka: {properties: {securty.protocol: SSL, socket.timeout.ms: 1, sasl.pasword_file: a, nonsense: 1, \
             security.protocol: hunter2}}"),
        "kafka.properties.nonsense: unknown property; allowed: those of librdkafka's CONFIGURATION.md\n\
         kafka.properties[\"sasl.pasword_file\"]: unknown property; did you mean `sasl.password_file`?\n\
         kafka.properties[\"security.protocol\"]: librdkafka does not take this value; allowed: PLAINTEXT, SSL, \
         SASL_PLAINTEXT, SASL_SSL\n\
         kafka.properties[\"securty.protocol\"]: unknown property; did you mean `security.protocol`?\n\
         kafka.properties[\"socket.timeout.ms\"]: allowed: 10 to 300000"
    );
}

#[test]
fn properties_that_do_not_go_together_are_refused() {
    let oauth = "security.protocol: SASL_SSL, sasl.mechanism: OAUTHBEARER";
    assert_eq!(
        bad(format!("kafka: {{properties: {{{oauth}}}}}")),
        "kafka.properties[\"sasl.mechanism\"]: OAUTHBEARER needs sasl.oauthbearer.method: oidc, and where to get tokens"
    );
    let oidc = format!("{oauth}, sasl.oauthbearer.method: oidc, sasl.oauthbearer.client.id: a");
    assert_eq!(
        bad(format!("kafka: {{properties: {{{oidc}, sasl.oauthbearer.token.endpoint.url: 'hunter2'}}}}")),
        "kafka.properties[\"sasl.oauthbearer.client.secret\"]: missing, and sasl.oauthbearer.method: oidc needs it\n\
         kafka.properties[\"sasl.oauthbearer.token.endpoint.url\"]: not a URL of http or https with a host and without \
         credentials"
    );
    // A secret that cannot be read is one problem, and not also missing.
    assert_eq!(
        bad(format!("kafka: {{properties: {{{oidc}, sasl.oauthbearer.client.secret: [1]}}}}")).lines().count(),
        1
    );
}

#[test]
fn a_secret_has_one_source() {
    assert_eq!(
        bad("kafka: {properties: {sasl.password: hunter2, sasl.password_file: a}}"),
        "kafka.properties[\"sasl.password\"]: both sasl.password and sasl.password_file are there; allowed: one of them"
    );
    check(
        "notify: [{name: a, type: webhook, url: 'http://a', url_file: b}]",
        "notify[0].url: both url and url_file are there; allowed: one of them",
    );
    check("notify: [{name: a, type: webhook}]", "notify[0].url: missing; allowed: a URL, or url_file with a path");
}

#[test]
fn numbers_have_ranges() {
    let interval = "a duration from 500ms to 1h, such as 500ms, 5s or 1h30m";
    for wrong in ["499ms", "1h1ms", "5 parsecs"] {
        assert_eq!(
            bad(format!("kafka: {{interval: {wrong}}}")),
            format!("kafka.interval: found \"{wrong}\"; allowed: {interval}")
        );
        check(
            &format!("jmx: [{{name: a, url: 'http://a', interval: {wrong}}}]"),
            &format!("jmx[0].interval: found \"{wrong}\"; allowed: {interval}"),
        );
    }
    assert_eq!(
        bad("kafka: {interval: 2s, timeout: 2s}"),
        "kafka.timeout: found \"2s\"; allowed: less than kafka.interval (2s)"
    );
    let times = |text: &str| good(text).kafka.map(|kafka| (kafka.interval, kafka.timeout));
    assert_eq!(times("kafka: {interval: 1s}"), Some((Duration::from_secs(1), Duration::from_millis(800))));
    assert_eq!(times("kafka: {interval: 1m}"), Some((Duration::from_mins(1), Duration::from_secs(4))));
    assert_eq!(
        good("jmx: [{name: a, url: 'http://a', interval: 1s, timeout: 5s}]").jmx[0].timeout,
        Duration::from_secs(5)
    );
    for id in ["-1", "2147483648", "any"] {
        assert!(
            bad(format!("kafka: {{broker_id: {id}}}"))
                .contains("allowed: a whole number from 0 to 2147483647, or auto")
        );
    }
    assert_eq!(good("kafka: {broker_id: 7}").kafka.and_then(|kafka| kafka.broker_id), Some(7));
    check(
        "rules: [{name: a, limits: {memory: 2GiB}}]",
        "rules[0].limits.memory: found \"2GiB\"; allowed: a size from 1MiB to 1GiB, such as 64KiB, 4MiB or plain bytes",
    );
    assert_eq!(
        bad("kafka: {replay_max_records: 999}"),
        "kafka.replay_max_records: found the number 999; allowed: a whole number from 1000 to 1000000000000"
    );
    check(
        "metrics: {max_series: 999}",
        "metrics.max_series: found the number 999; allowed: a whole number from 1000 to 100000000",
    );
    let many = "{name: a, type: log},".repeat(MAX_LIST + 1);
    check(&format!("notify: [{many}]"), "notify: found a list of 1001; allowed: at most 1000");
}

#[test]
fn names_are_unique_and_plain() {
    check(
        "notify: [{name: a, type: log}, {name: a, type: log}]",
        "notify[1].name: found \"a\"; allowed: a name that no other has",
    );
    check(
        "rules: [{}]",
        "rules[0].name: missing; allowed: 1 to 64 letters, digits, `.`, `_` and `-`, beginning with none of `.` and `-`",
    );
    assert!(bad("jmx: [{name: kafka, url: 'http://a'}]").contains("the Kafka collector's"));
    check(
        "rules: [{name: a, labels: {rule: b}}]",
        "rules[0].labels.rule: a reserved name; reserved are alertname, cluster, rule",
    );
    good("kafka: {}\nrules: [{name: a, annotations: {rule: b}}]\nnotify: [{name: a, type: log}]");
}
