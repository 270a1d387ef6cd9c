//! Actions from the rule that asks to the program that does it, and the switch as people use it.

use crate::harness::{
    daemon::{Home, idle},
    guests, holds, pause,
};
use std::{fs, time::Duration};

const SEEN: Duration = Duration::from_secs(20);

#[test]
fn actions_are_paused_and_resumed_from_the_command_line_or_by_hand() {
    let home = Home::new();
    home.configure(&format!("{}\nactions: {{a: {{type: exec, command: [/bin/true]}}}}", idle()));
    let config = home.path("agent.yaml");
    let config = config.to_str().unwrap().to_owned();
    let say = |home: &Home, word: &str| home.command(&["actions", word, "--config", &config]);

    // Without a data_dir there is nothing to pause in; that it is not paused is known.
    let (code, said) = say(&home, "status");
    assert!(code == Some(0) && said.contains("actions are not paused"), "{code:?}: {said}");
    let agent = home.start_as_configured();
    let paused = |is: f64| {
        agent.until(SEEN, "the gauge says so", |page| {
            let now = page.sum("brokerwarden_actions_paused", &[]);
            holds((now - is).abs() < 0.5, format!("{now}"))
        });
    };
    paused(0.0);
    let file = agent.home.path("data/actions.paused");
    for (word, words, exists) in [
        ("pause", "actions are paused", true),
        ("pause", "actions were paused already", true),
        ("status", "actions are paused since 20", true),
        ("resume", "actions are resumed", false),
        ("resume", "actions were not paused", false),
    ] {
        let (code, said) = say(&agent.home, word);
        assert!(code == Some(0) && said.contains(words), "{word}: {code:?}: {said}");
        assert_eq!(file.exists(), exists, "{word}");
        paused(f64::from(u8::from(exists)));
    }
    fs::write(&file, "by hand").unwrap();
    paused(1.0);
    fs::remove_file(&file).unwrap();
    paused(0.0);
    let (code, said) = agent.home.command(&["actions", "pause", "--config", "/nonexistent/agent.yaml"]);
    assert_eq!(code, Some(64), "{said}");
    fs::create_dir(&file).unwrap();
    let (code, said) = say(&agent.home, "resume");
    assert!(code == Some(2) && said.contains("actions.paused: "), "{code:?}: {said}");
    for outcome in ["done", "failed", "expired", "dry_run", "silenced", "dropped", "retried"] {
        assert_eq!(
            agent.page().sum("brokerwarden_actions_total", &[("action", "a"), ("outcome", outcome)]).to_bits(),
            0.0_f64.to_bits(),
            "{outcome}"
        );
    }
}

#[test]
fn what_a_rule_asks_for_is_done_once_if_it_was_granted_and_looks_as_it_must() {
    let home = Home::new();
    let (done, seen) = (home.path("done"), Duration::from_secs(30));
    home.write("rules/asking.wasm", guests::asking("Asking", "touch", "orders"));
    home.write("rules/odd.wasm", guests::asking("Odd", "touch", "-rf"));
    home.write("rules/stranger.wasm", guests::asking("Stranger", "touch", "payments"));
    let script = format!("echo \"$1 $BROKERWARDEN_RULE $BROKERWARDEN_IDEMPOTENCY_KEY\" >> {}", done.display());
    let yaml = format!(
        "{}\nrules_dir: rules\nrules: [{{name: asking, actions: [touch]}}, {{name: odd, actions: [touch]}}]\n\
         actions: {{touch: {{type: exec, command: [/bin/sh, -c, '{script}', sh, '{{{{who}}}}'], params: {{who: \"[a-z]+\"}}, \
         rate: {{per_key: 1 per 1d}}}}}}",
        idle()
    );
    let agent = home.start(&yaml);
    agent.until(seen, "it was done, and others were refused", |page| {
        let ended = page.sum("brokerwarden_actions_total", &[("action", "touch"), ("outcome", "done")]);
        let refused =
            |rule, reason| page.sum("brokerwarden_actions_refused_total", &[("rule", rule), ("reason", reason)]) > 0.0;
        let all = ended > 0.0 && refused("odd", "parameter") && refused("stranger", "not_granted");
        holds(all, format!("{ended} {} {}", refused("odd", "parameter"), refused("stranger", "not_granted")))
    });
    let lines = || fs::read_to_string(&done).unwrap().lines().map(str::to_owned).collect::<Vec<_>>();
    let first = lines();
    assert!(first.len() == 1 && first[0].starts_with("orders asking "), "{first:?}");
    let shown = agent.get("/api/v1/actions").json().to_string();
    assert!(shown.contains("\"done\"") && shown.contains("exit code 0"), "{shown}");

    // Asked for at each snapshot, and after a restart.
    agent.snapshots(2.0, seen);
    let agent = agent.start_again();
    agent.snapshots(2.0, seen);
    pause(Duration::from_secs(2));
    assert_eq!(lines(), first, "one in a day");
}
