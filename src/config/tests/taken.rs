//! What is taken and what it becomes: values, secrets, defaults, paths, and the way back to YAML.

use super::*;
use crate::{
    deliver::Kind,
    rules::{Limits, Module, Overlay},
};
use std::time::Duration;

#[test]
fn variables_are_expanded_in_values_only() {
    let config = good(
        "cluster: ${CLUSTER}-$${X}-$\nkafka: {}\nmetrics: {max_series: '${SERIES}'}\n\
                       rules: [{name: a, config: {x: '${SECRET}', y: '$${'}, labels: {team: '${NESTED}'}}]",
    );
    assert_eq!(config.cluster.as_deref(), Some("from-environment-${X}-$"));
    assert_eq!(config.page.max_series, 5000);
    let overlay = &config.rules.rules[0].1.overlay;
    assert_eq!(overlay.config.as_deref(), Some(r#"{"x":"${SECRET}","y":"$${"}"#));
    assert_eq!(overlay.labels.as_ref().map(|labels| labels["team"].as_str()), Some("${SECRET}"), "expanded once");
    check(
        "cluster: a${GONE}b${ALSO}",
        "cluster: environment variable GONE is not set\ncluster: environment variable ALSO is not set",
    );
    for text in ["${", "${}", "${A-B}", "${A:-b}", "${9}"] {
        check(
            &format!("cluster: '{text}'"),
            "cluster: found `${` that begins no variable; allowed: ${NAME}, or $${ for `${` itself",
        );
    }
    let found = bad("kafka: {interval: '${SECRET}', scope: '${SECRET}', groups: {include: ['(${SECRET}']}}");
    assert!(found.contains("found \"${SECRET}\"") && !found.contains("hunter2"), "{found}");
}

#[test]
fn the_file_of_cas_that_the_system_trusts_counts_where_none_is_given() {
    let ca = |properties: &str| {
        let config = good(&format!("kafka: {{properties: {{{properties}}}}}"));
        match config.kafka.expect("kafka").properties.remove("ssl.ca.location") {
            Some(Secret::Inline(path)) => path,
            other => format!("{other:?}"),
        }
    };
    for protocol in ["security.protocol: SSL", "security.protocol_file: /a"] {
        assert_eq!(ca(protocol), "/etc/system/ca.pem");
    }
    assert_eq!(ca("security.protocol: sasl_ssl, sasl.mechanism: PLAIN"), "/etc/system/ca.pem");
    assert_eq!(ca("security.protocol: SSL, ssl.ca.location: probe"), "probe");
    for other in ["", "security.protocol: PLAINTEXT", "security.protocol: SSL, ssl.ca.pem: a"] {
        assert_eq!(ca(other), "None", "{other}");
    }
}

#[test]
fn secrets_are_shown_nowhere() {
    let text = "kafka: {properties: {sasl.password: '${SECRET}', ssl.key.password_file: keys/a, sasl.username: hunter2,
                 socket.timeout.ms: 1000, enable.ssl.certificate.verification: true}}
notify: [{name: a, type: webhook, url: 'https://example.com/hunter2'}, {name: b, type: webhook, url_file: /run/hook}]";
    let config = good(text);
    let kafka = config.kafka.as_ref().expect("kafka");
    assert_eq!(kafka.properties["sasl.password"], Secret::Inline("hunter2".into()));
    assert_eq!(kafka.properties["socket.timeout.ms"], Secret::Inline("1000".into()));
    assert_eq!(kafka.properties["enable.ssl.certificate.verification"], Secret::Inline("true".into()));
    assert!(
        matches!(&kafka.properties["ssl.key.password"], Secret::File(file) if file.is_absolute() && file.ends_with("keys/a"))
    );
    assert!(!format!("{config:?}").contains("hunter2"));
    let shown = effective(&config);
    assert!(!shown.contains("hunter2") && shown.contains("sasl.password: '***'"), "{shown}");
    assert!(shown.contains("url_file: /run/hook") && shown.contains("/keys/a"), "{shown}");
    // The mask is no secret: what `check` prints must not run.
    let mask = "found the mask of a secret; allowed: the secret itself, or a file that holds it";
    let masked: Vec<_> = ["enable.ssl.certificate.verification", "sasl.password", "sasl.username", "socket.timeout.ms"]
        .iter()
        .map(|name| format!("kafka.properties[\"{name}\"]: {mask}"))
        .chain([format!("notify[0].url: {mask}")])
        .collect();
    assert_eq!(bad(&shown), masked.join("\n"));

    for wrong in ["[hunter2]", "{hunter2: hunter2}", "{[hunter2]: 1}", "0x1F", "4815162342", "1.5", "null", "'***'"] {
        for place in
            ["kafka: {properties: {sasl.password: %}}", "kafka: {}\nnotify: [{name: a, type: webhook, url: %}]"]
        {
            if place.contains("url") && wrong == "null" {
                continue;
            }
            let found = bad(place.replace('%', wrong));
            let leaks = ["hunter2", "31", "4815162342", "1.5"].iter().any(|secret| found.contains(secret));
            assert!(!leaks && found.lines().count() == 1, "{wrong}: {found}");
        }
    }
    for url in ["http://admin:hunter2@localhost/", "http://hunter2@", "hunter2@"] {
        assert!(!bad(format!("jmx: [{{name: a, url: '{url}'}}]")).contains("hunter2"), "{url}");
        let found = bad(format!("kafka: {{}}\nnotify: [{{name: a, type: alertmanager, urls: ['{url}']}}]"));
        assert!(!found.contains("hunter2"), "{found}");
        let found = bad(format!("kafka: {{}}\nnotify: [{{name: a, type: webhook, url: '{url}'}}]"));
        assert!(!found.contains("hunter2"), "{found}");
    }
}

#[test]
fn rule_configuration_becomes_json() {
    let config = |yaml: &str| {
        good(&format!("kafka: {{}}\nrules: [{{name: a, config: {yaml}}}]")).rules.rules[0].1.overlay.config.clone()
    };
    assert_eq!(
        config("{b: [1, -2, 1.5, true, null, 'x\"y'], a: {c: 18446744073709551615}}").as_deref(),
        Some(r#"{"a":{"c":18446744073709551615},"b":[1,-2,1.5,true,null,"x\"y"]}"#)
    );
    assert_eq!(config("{}").as_deref(), Some("{}"));
    assert_eq!(config("null"), None);
    check("rules: [{name: a, config: 5}]", "rules[0].config: found the number 5; allowed: a mapping (`key: value`)");
    check(
        "rules: [{name: a, config: {x: [.nan]}}]",
        "rules[0].config.x[0]: found the number NaN; allowed: a finite number (JSON has no other)",
    );
    check(
        "rules: [{name: a, config: {x: 18446744073709551616}}]",
        "rules[0].config.x: found the number 18446744073709551616; allowed: a whole number of 64 bits",
    );
    check(
        "rules: [{name: a, config: {x: {1: 2}}}]",
        "rules[0].config.x: found a number as a key; allowed: text (quote it)",
    );
    check("rules: [{name: a, config: {x: 1, x: 2}}]", "rules[0].config.x: the key is there twice");
    let long = format!("rules: [{{name: a, config: {{x: {}}}}}]", "y".repeat(MAX_RULE_CONFIG_BYTES));
    assert!(bad(format!("kafka: {{}}\n{long}")).contains("rules[0].config: found"));
}

#[test]
fn yaml_beside_a_module_says_what_it_does_and_grants_nothing() {
    assert_eq!(parse_sidecar(""), Ok(Overlay::default()));
    let overlay = parse_sidecar(
        "config: {a: '${X}'}\ninterval: 5s\nfor: 1m\nkeep_firing_for: 2m\nlabels: {team: '$${X}'}\n\
                                 annotations: {summary: s}\nshadow: true\n",
    )
    .expect("good");
    assert_eq!(overlay.config.as_deref(), Some(r#"{"a":"${X}"}"#));
    assert_eq!((overlay.interval, overlay.pending_for), (Some(Duration::from_secs(5)), Some(Duration::from_mins(1))));
    assert_eq!((overlay.keep_firing_for, overlay.shadow), (Some(Duration::from_mins(2)), Some(true)));
    assert_eq!(overlay.labels.map(|labels| labels["team"].clone()).as_deref(), Some("$${X}"), "nothing is expanded");
    assert_eq!(overlay.annotations.map(|annotations| annotations["summary"].clone()).as_deref(), Some("s"));
    assert_eq!(
        parse_sidecar("actions: []\nlimits:\nreads: {}\nsha256: a\nshadow: maybe\nfro: 1s\nfor: x")
            .expect_err("grants"),
        "for: found \"x\"; allowed: a duration from 0s to 30d, such as 500ms, 5s or 1h30m; shadow: found \"maybe\"; allowed: true or false; \
         actions: only counts in agent.yaml; limits: only counts in agent.yaml; reads: only counts in agent.yaml; \
         sha256: only counts in agent.yaml; fro: unknown key; did you mean `for`?"
    );
    assert_eq!(parse_sidecar("[]").expect_err("list"), "not a mapping (`key: value`)");
    assert!(parse_sidecar("a: [").expect_err("syntax").contains("line 2"));
    assert!(parse_sidecar(&" ".repeat(MAX_SIDECAR_BYTES + 1)).is_err());
}

/// What is in effect when nothing but `kafka: {}` and one page and one rule without any settings is written.
const DEFAULTS: &str = "cluster: null
data_dir: FOLDER/data
http:
  listen: 0.0.0.0:9308
  web_config_file: null
kafka:
  bootstrap_servers: localhost:9092
  scope: broker
  broker_id: auto
  offsets: auto
  replay_max_records: 50000000
  interval: 5s
  timeout: 4s
  groups:
    include:
    - .*
    exclude: []
  topics:
    include:
    - .*
    exclude: []
  inactive_groups: keep
  properties: {}
jmx:
- name: broker
  url: http://localhost:9094/metrics
  interval: 15s
  timeout: 1m
  max_size: 64MiB
  keep:
  - .*
  drop: []
  labels: {}
metrics:
  compatibility:
  - kafka_exporter
  max_series: 2000000
rules_dir: FOLDER/rules
rules:
- name: assignment-lag
  module: null
  config: null
  interval: null
  for: null
  keep_firing_for: null
  labels: null
  annotations: null
  actions: []
  reads:
    groups:
    - .*
    topics:
    - .*
    metrics:
    - .*
  sha256: null
  shadow: null
  limits:
    time: 100ms
    memory: 64MiB
    state: 1MiB
    alerts: 1000
notify:
- name: log
  type: log
  match: []
actions: {}
";

const ALMOST_EMPTY: &str = "kafka: {}
jmx: [{name: broker, url: 'http://localhost:9094/metrics'}]
rules: [{name: assignment-lag}]
notify: [{name: log, type: log}]
";

#[test]
fn a_module_may_be_pinned_and_a_rule_be_in_the_shadow() {
    let text = format!("kafka: {{}}\nrules: [{{name: a, sha256: {}AF, shadow: true}}]", "0".repeat(62));
    let config = good(&text);
    let rule = &config.rules.rules[0].1;
    assert_eq!(rule.sha256.as_deref(), Some(format!("{}af", "0".repeat(62)).as_str()));
    assert_eq!(rule.overlay.shadow, Some(true));
    let shown = effective(&config);
    assert!(shown.contains("shadow: true"), "{shown}");
    assert_eq!(good(&shown).rules.rules, config.rules.rules);
}

#[test]
fn every_default_is_written_out() {
    let (folder, config) = loaded(ALMOST_EMPTY);
    let shown = effective(&config.expect("good")).replace(&folder.path().display().to_string(), "FOLDER");
    assert_eq!(shown, DEFAULTS);
    let config = good("jmx: [{name: a, url: 'http://a'}]");
    assert!(config.kafka.is_none() && config.notify.is_empty() && config.rules.rules.is_empty());
    assert!(!effective(&config).contains("\nkafka:"));
}

#[test]
fn our_own_agent_yaml_is_good_and_tells_the_truth_about_defaults() {
    let file = repository_file("agent.yaml");
    let config = load(&file, &|name| panic!("agent.yaml needs ${name}")).expect("agent.yaml is good");
    let folder = repository_file("");
    assert_eq!(config.rules.rules_dir.as_deref(), Some(folder.join("rules").as_path()));
    assert_eq!(config.data_dir, folder.join("data"));
    assert_eq!(config.rules.cache_dir, folder.join("data/compiled"));
    assert_eq!(config.rules.compiler, Path::new("/proc/self/exe"));
    let (name, rule) = &config.rules.rules[0];
    assert_eq!((name.as_str(), &rule.module), ("assignment-lag", &Some(Module::Builtin("lag-threshold".into()))));
    assert_eq!(rule.overlay.config.as_deref(), Some(r#"{"groups":["assignment-group"],"threshold":100}"#));
    assert_eq!(rule.limits, Limits::default());
    assert!(matches!(&config.notify[..], [notifier] if notifier.kind == Kind::Log));
    // All else that it writes is a default: without what only an example can say, nothing is left but the defaults.
    let mut plain = config;
    plain.rules.rules.truncate(1);
    plain.rules.rules[0].1.module = None;
    plain.rules.rules[0].1.overlay = Overlay::default();
    let shown = effective(&plain).replace(&folder.display().to_string().trim_end_matches('/').to_owned(), "FOLDER");
    assert_eq!(shown, DEFAULTS);
    // Every key of the contract is in it, commented out or not.
    let text = fs::read_to_string(&file).expect("agent.yaml");
    let keys =
        DEFAULTS.lines().filter_map(|line| line.trim_start_matches([' ', '-']).split_once(':')).map(|(key, _)| key);
    for key in keys {
        assert!(text.contains(&format!("{key}:")), "agent.yaml does not mention {key}");
    }
}

#[test]
fn what_is_in_effect_reads_back_as_itself() {
    let text = r#"
cluster: a$${b}$$${c}
data_dir: /var/$${x}
http: {listen: "[::1]:0", web_config_file: web.yaml}
kafka:
  bootstrap_servers: a:1,[::1]:2
  scope: cluster
  broker_id: 3
  offsets: admin
  replay_max_records: 1000
  interval: 1m30s
  timeout: 1500ms
  groups: {include: ["a|b", "(?i)c.*"], exclude: ['a\$\{x}', 'b$$|c']}
  topics: {include: []}
  inactive_groups: hide
  properties: {sasl.password: hunter2, ssl.key.password_file: keys/a}
jmx:
  - {name: a, url: "http://a:1/b?c=d", interval: 1h, timeout: 10m, max_size: 1025, keep: [], drop: ["x.*"], labels: {a: "true", b: "1"}}
  - {name: b, url: "https://b", basic_auth: {username: u, password: "hunter2"}, tls_config: {ca_file: ca.pem, cert_file: c.pem, key_file: c.key, server_name: n, insecure_skip_verify: true, min_version: TLS13}}
  - {name: c, url: "https://c", authorization: {credentials_file: token}}
metrics: {compatibility: [], max_series: 1000}
rules_dir: ../other
rules:
  - {name: a, module: x/y.wasm, config: {b: "${Z}", a: [1.5, null]}, interval: 500ms, for: 0s, keep_firing_for: 30d, labels: {}, annotations: {a: "b\nc: 'd'"}, limits: {time: 1s, memory: 1MiB, state: 0, alerts: 5}}
  - {name: b, module: "builtin:lag-threshold"}
notify:
  - {name: a, type: alertmanager, urls: ["http://a:9093/b", "https://c"]}
  - {name: b, type: webhook, url: "https://d/hunter2"}
  - {name: c, type: webhook, url_file: "e"}
  - {name: d, type: log}
"#;
    let config = good(text);
    let shown = effective(&config);
    let again = good(
        &shown
            .replace("sasl.password: '***'", "sasl.password: other")
            .replace("url: '***'", "url: https://other")
            .replace("password: '***'", "password: other"),
    );
    assert_eq!(format!("{config:#?}"), format!("{again:#?}"));
    assert_eq!(config.page, again.page);
    assert_eq!((&config.jmx[0], &config.jmx[2]), (&again.jmx[0], &again.jmx[2]));
    assert_eq!(config.jmx[1].tls, again.jmx[1].tls);
    assert_eq!(config.rules.rules, again.rules.rules);
    assert_eq!(effective(&again), shown);
    assert_eq!(config.cluster.as_deref(), Some("a${b}$${c}"));
}

#[test]
fn words_of_kafka_become_what_they_say() {
    use crate::kafka::{OffsetsSource, Scope};
    let of = |text: &str| good(text).kafka.map(|kafka| (kafka.scope, kafka.offsets, kafka.hide_inactive));
    assert_eq!(of("kafka: {}"), Some((Scope::Broker, OffsetsSource::Auto, false)));
    assert_eq!(
        of("kafka: {scope: broker, offsets: topic, inactive_groups: keep}"),
        Some((Scope::Broker, OffsetsSource::Topic, false))
    );
    assert_eq!(
        of("kafka: {scope: cluster, offsets: admin, inactive_groups: hide}"),
        Some((Scope::Cluster, OffsetsSource::Admin, true))
    );
}

#[test]
fn relative_paths_start_at_the_file() {
    let (folder, config) = loaded(
        "kafka: {}\ndata_dir: ./d\nrules: [{name: a, module: ../m.wasm}]\nnotify: [{name: a, type: webhook, url_file: s}]",
    );
    let config = config.expect("good");
    assert_eq!(config.data_dir, folder.path().join("d"));
    assert_eq!(config.rules.rules[0].1.module, Some(Module::File(folder.path().join("../m.wasm"))));
    assert_eq!(config.notify[0].kind, Kind::Webhook { url: Secret::File(folder.path().join("s")), payload: None });
    assert!(!folder.path().join("d").exists(), "loading creates nothing");
}
