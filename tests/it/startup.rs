//! Starting badly: one clear sentence and the right exit code. And `check`, which says it all beforehand.

use crate::harness::{
    daemon::{Home, idle},
    guests::{self, Fault},
};
use std::net::TcpListener;

/// Bad usage or configuration, by the manual.
const USAGE: Option<i32> = Some(64);

#[test]
fn a_port_in_use_is_one_clear_sentence() {
    let home = Home::new();
    let _taken = TcpListener::bind(home.listen()).unwrap();
    home.configure(&idle());
    let (code, said) = home.command(&["run", "--config", "agent.yaml"]);
    assert_eq!(code, Some(2), "{said}");
    let address = home.listen().to_string();
    assert!(
        said.lines().any(|line| line.contains(&address) && line.contains("in use") && line.contains("choose another")),
        "{said}"
    );
    assert!(!said.contains("panicked"), "{said}");
}

#[test]
fn a_missing_and_an_unreadable_file_are_named() {
    let home = Home::new();
    let (code, said) = home.command(&["run", "--config", "nowhere.yaml"]);
    assert_eq!(code, USAGE, "{said}");
    assert!(said.contains("nowhere.yaml") && said.to_lowercase().contains("no such file"), "{said}");
    home.write("folder/file", "");
    let (code, said) = home.command(&["run", "--config", "folder"]);
    assert_eq!(code, USAGE, "{said}");
    assert!(said.contains("folder") && !said.contains("panicked"), "{said}");
}

#[test]
fn all_problems_are_reported_at_once_with_their_paths() {
    let home = Home::new();
    let yaml = "http: {lissten: \"127.0.0.1:9308\"}\n\
        kafka: {bootstrap_servers: \"localhost:9092\", interval: soon, timeout: 4s}\n\
        jmx: [{name: broker, url: \"ftp://localhost\", keep: [\"(\"]}]\n\
        notify: [{name: n, type: pigeon}]\n";
    home.write("agent.yaml", yaml);
    for command in ["run", "check"] {
        let (code, said) = home.command(&[command, "--config", "agent.yaml"]);
        assert_eq!(code, USAGE, "{command}: {said}");
        for words in [
            &["http.lissten", "listen"][..],
            &["kafka.interval", "soon"],
            &["jmx[0].url", "ftp"],
            &["jmx[0].keep[0]"],
            &["notify[0].type", "pigeon", "webhook"],
        ] {
            let told = said.lines().any(|line| words.iter().all(|word| line.contains(word)));
            assert!(told, "{command} says nothing of {words:?}: {said}");
        }
    }
}

#[test]
fn a_file_of_a_kafka_property_that_cannot_be_read_is_a_problem_of_the_configuration() {
    let home = Home::new();
    for (properties, words) in [
        ("sasl.password_file: nowhere.txt", &["nowhere.txt", "kafka.properties.sasl.password", "No such file"][..]),
        (
            "security.protocol: SSL, ssl.ca.location: /nowhere/ca.pem",
            &["/nowhere/ca.pem", "kafka.properties.ssl.ca.location", "No such file"],
        ),
    ] {
        home.configure(&format!("kafka: {{bootstrap_servers: \"127.0.0.1:1\", properties: {{{properties}}}}}"));
        let (code, said) = home.command(&["run", "--config", "agent.yaml"]);
        assert_eq!(code, USAGE, "{said}");
        assert!(words.iter().all(|word| said.contains(word)), "{said}");
    }
}

#[test]
fn a_built_in_rule_that_does_not_exist_is_a_problem_of_the_configuration() {
    let home = Home::new();
    home.configure(&format!("{}\nrules: [{{name: r, module: \"builtin:lag-treshold\"}}]", idle()));
    let (code, said) = home.command(&["check", "--config", "agent.yaml"]);
    assert_eq!(code, USAGE, "{said}");
    let words = ["rules[0].module", "builtin:lag-treshold", "lag-threshold"];
    assert!(said.lines().any(|line| words.iter().all(|word| line.contains(word))), "{said}");
}

#[test]
fn what_keeps_listed_rules_from_going_live_is_found_by_check() {
    let home = Home::new();
    home.write("bad.wasm", "garbage");
    home.write("good.wasm", guests::rule("Good", Fault::None));
    home.configure(&format!(
        "{}\nrules:\n\
         - {{name: good, module: good.wasm}}\n\
         - {{name: lag, module: \"builtin:lag-threshold\", config: {{threshold: many}}}}\n\
         - {{name: gone, module: gone.wasm}}\n\
         - {{name: bad, module: bad.wasm}}\n",
        idle()
    ));
    let (code, said) = home.command(&["check", "--config", "agent.yaml"]);
    assert_eq!(code, USAGE, "{said}");
    for words in [
        &["rules[1].config", "threshold"][..],
        &["rules[2].module", "gone.wasm", "No such file"],
        &["rules[3].module", "not a WebAssembly component"],
    ] {
        assert!(said.lines().any(|line| words.iter().all(|word| line.contains(word))), "nothing of {words:?}: {said}");
    }
    assert!(!said.contains("rules[0]"), "{said}");
}

#[test]
fn text_that_is_no_yaml_is_refused_with_the_place() {
    let home = Home::new();
    for text in ["http: {listen: \"127.0.0.1:1\"", "- a list", "\u{0}", "&a [*a, *a]", &"[".repeat(100_000)] {
        home.write("agent.yaml", text);
        let (code, said) = home.command(&["run", "--config", "agent.yaml"]);
        assert_eq!(code, USAGE, "{:?}: {said}", text.get(..20));
        assert!(said.contains("agent.yaml") && !said.contains("panicked"), "{said}");
        assert!(said.len() < 10_000, "{} bytes of complaint", said.len());
    }
}

#[test]
fn a_key_that_is_not_built_yet_is_refused_not_ignored() {
    let home = Home::new();
    let kafka = "kafka: {bootstrap_servers: \"localhost:9092\"}";
    for (yaml, path) in [
        ("rules: [{name: a, module: \"builtin:lag-threshold\", reads: {groups: [a]}}]", "rules[0].reads.groups"),
        ("rules: [{name: a, module: \"builtin:lag-threshold\", reads: {metrics: []}}]", "rules[0].reads.metrics"),
    ] {
        home.configure(&format!("{kafka}\n{yaml}"));
        let (code, said) = home.command(&["run", "--config", "agent.yaml"]);
        assert_eq!(code, USAGE, "{yaml}: {said}");
        let told = said.lines().any(|line| line.contains(path) && line.contains("not supported yet"));
        assert!(told, "{yaml}: {said}");
    }
}

#[test]
fn check_prints_the_effective_configuration_without_secrets() {
    let home = Home::new();
    home.write("token", "http://hooks.example/from-a-file");
    home.configure(
        "kafka: {bootstrap_servers: \"localhost:9092\", properties: {sasl.password: hunter2}}\n\
         notify: [{name: a, type: webhook, url: \"http://hooks.example/hunter3\"}, {name: b, type: webhook, url_file: token}]\n\
         rules: [{name: lag, module: \"builtin:lag-threshold\", config: {groups: [g], threshold: 5}}]",
    );
    let (code, said) = home.command(&["check", "--config", "agent.yaml"]);
    assert_eq!(code, Some(0), "{said}");
    let listen = home.listen().to_string();
    for shown in ["localhost:9092", "builtin:lag-threshold", "***", &listen] {
        assert!(said.contains(shown), "{shown} is not in {said}");
    }
    for secret in ["hunter2", "hunter3", "from-a-file"] {
        assert!(!said.contains(secret), "{secret} is in {said}");
    }
}

#[test]
fn bad_usage_is_64_and_help_is_help() {
    let home = Home::new();
    for arguments in [&["fly"][..], &["run", "--confg", "x"], &["check", "a", "b"], &[]] {
        let (code, said) = home.command(arguments);
        assert_eq!(code, USAGE, "{arguments:?}: {said}");
    }
    let (code, said) = home.command(&["--help"]);
    assert_eq!(code, Some(0));
    assert!(["run", "check", "demo"].iter().all(|word| said.contains(word)), "{said}");
    let (code, said) = home.command(&["--version"]);
    assert_eq!(code, Some(0));
    assert!(said.contains(env!("CARGO_PKG_VERSION")), "{said}");
}

#[test]
fn the_shipped_file_passes_its_check() {
    let home = Home::new();
    home.write("agent.yaml", std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/agent.yaml")).unwrap());
    let (code, said) = home.command(&["check", "--config", "agent.yaml"]);
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn the_environment_fills_values_and_a_missing_name_is_an_error() {
    let home = Home::new();
    // PATH is all that the harness leaves of the environment.
    home.configure("cluster: \"${BROKERWARDEN_NO_SUCH_NAME}\"");
    let (code, said) = home.command(&["check", "--config", "agent.yaml"]);
    assert_eq!(code, USAGE, "{said}");
    assert!(said.contains("cluster") && said.contains("BROKERWARDEN_NO_SUCH_NAME"), "{said}");
}
