//! The switch of actions, as people use it, with an agent that runs and without one.

use crate::harness::{
    daemon::{Home, idle},
    holds,
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
