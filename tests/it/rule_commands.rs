//! `brokerwarden rule …` beside a running agent, and without one.

use crate::harness::{
    daemon::{Home, idle},
    guests, holds, within,
};
use std::time::Duration;

const SEEN: Duration = Duration::from_mins(1);

#[test]
fn a_rule_of_the_running_agent_is_shown_with_its_state_and_forgets_it() {
    let home = Home::new();
    home.write("rules/counter.wasm", guests::counter());
    home.write("rules/counter.yaml", "shadow: true\n");
    let agent = home.start(&format!("{}\nrules_dir: rules", idle()));
    let command = |arguments: &[&str]| agent.command(&[&["rule"], arguments].concat());
    within(SEEN, "it was evaluated", || {
        let (code, said) = command(&["inspect", "counter"]);
        holds(code == Some(0) && said.contains("1 alerts, 0 measurements, 0 actions"), said)
    });
    let (_, said) = command(&["inspect", "counter"]);
    for part in [
        "rule     counter\n",
        "counter.wasm\n",
        "told to nobody",
        "imports  brokerwarden:rule/state@0.1.0\n",
        "exports  brokerwarden:rule/evaluator@0.1.0\n",
        "limits   100 ms CPU, 67108864 bytes of memory, 1048576 bytes of state, 1000 alerts\n",
        "state    1 keys, ",
        "of version 0",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let (code, said) = command(&["state", "counter"]);
    assert!(code == Some(0) && said.starts_with("n\t"), "{said}");
    assert_eq!(command(&["state", "counter", "--reset"]), (Some(0), String::new()));
    // Lines of the log are written by a thread of their own.
    within(SEEN, "the log says so", || holds(agent.log().contains("rule forgot what it remembered"), agent.log()));
    // It is evaluated again, and counts from the beginning: at most a few snapshots were seen since.
    let (code, said) = command(&["state", "counter"]);
    assert!(code == Some(0) && (said.is_empty() || said.starts_with("n\t\\u{")), "{said}");
    let (code, said) = command(&["state", "nix"]);
    assert!(code == Some(2) && said.contains("the agent has no rule \"nix\""), "{said}");
    // The page follows within a second.
    agent.until(SEEN, "the alert", |page| {
        holds(page.has("brokerwarden_alert", &[("rule", "counter"), ("shadow", "true")]), "no alert")
    });
    let page = agent.page();
    assert!(!page.has("brokerwarden_notifications_total", &[("outcome", "sent")]));
}

#[test]
fn a_file_is_shown_without_an_agent_and_what_is_none_is_refused() {
    let home = Home::new();
    home.configure(&idle());
    home.write("counter.wasm", guests::counter());
    let (code, said) = home.command(&["rule", "inspect", "counter.wasm"]);
    assert!(code == Some(0) && said.contains("imports  brokerwarden:rule/state@0.1.0\n"), "{said}");
    home.write("text.wasm", "text");
    let (code, said) = home.command(&["rule", "inspect", "text.wasm"]);
    assert!(code == Some(1) && said.contains("text.wasm: it is not a WebAssembly component"), "{said}");
    for arguments in [&["rule", "inspect", "counter"][..], &["rule", "state", "counter"]] {
        let (code, said) = home.command(arguments);
        assert!(code == Some(2) && said.contains("no agent runs with the data_dir"), "{said}");
    }
    let (code, said) = home.command(&["rule", "state", "counter", "--config", "nix.yaml"]);
    assert!(code == Some(64) && said.contains("nix.yaml"), "{said}");
}
