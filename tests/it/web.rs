//! `http.web_config_file` as an operator meets it: at the start, at a reload, and when a file changes.

use crate::harness::{
    daemon::{Daemon, Home, idle},
    holds,
    http::{self, Answer},
    page::Page,
    within,
};
use rustix::process::Signal;
use std::time::Duration;

/// Longest wait for a change to show; files are looked at every 2 s, twice.
const SEEN: Duration = Duration::from_secs(20);

const FIRST: &str = "Basic YWxpY2U6Zmlyc3Qtc2VjcmV0"; // alice:first-secret
const SECOND: &str = "Basic YWxpY2U6c2Vjb25kLXNlY3JldA=="; // alice:second-secret

fn users(password: &str) -> String {
    format!("basic_auth_users: {{alice: {}}}\n", bcrypt::hash(password, 4).unwrap())
}

fn get_as(agent: &Daemon, path: &str, login: &str) -> Answer {
    http::ask(agent.address(), "GET", path, &[("Authorization", login)]).unwrap()
}

/// Waits until the file was taken up so many times: trying to log in until it works would be throttled.
fn taken_up(agent: &Daemon, times: usize) {
    within(SEEN, "taken up", || {
        let seen = agent.log().matches("passwords come in unencrypted").count();
        holds(seen == times, format!("{seen} times"))
    });
}

#[track_caller]
fn lets_in(agent: &Daemon, login: &str, out: &str) {
    assert_eq!(get_as(agent, "/-/healthy", login).status, 200);
    assert_eq!(get_as(agent, "/-/healthy", out).status, 401);
    assert_eq!(agent.get("/-/healthy").status, 401);
}

fn in_effect(agent: &Daemon, login: &str, want: f64) {
    within(SEEN, "the gauge", || {
        let page = Page::parse(get_as(agent, "/metrics", login).text()).unwrap();
        page.expect("brokerwarden_web_config_last_reload_successful", &[], want)
    });
}

#[test]
fn a_bad_file_is_an_error_of_the_configuration_that_names_file_and_key() {
    let home = Home::new();
    let http = format!("http: {{listen: \"{}\", web_config_file: web.yaml}}\n{}", home.listen(), idle());
    home.write("agent.yaml", http);
    for (web, commands, words) in [
        (None, &["run", "check"][..], "web.yaml: No such file"),
        (
            Some("tls_server_confg: {}"),
            &["run", "check"],
            "tls_server_confg: unknown key; did you mean `tls_server_config`?",
        ),
        (Some("basic_auth_users: {alice: hunter2}"), &["run", "check"], "basic_auth_users.alice: found not a hash"),
        // `check` leaves the files that are named to the agent's user.
        (
            Some("tls_server_config: {cert_file: a.pem, key_file: a.key}"),
            &["run"],
            "tls_server_config.cert_file: cannot read ",
        ),
    ] {
        if let Some(web) = web {
            home.write("web.yaml", web);
        }
        for command in commands {
            let (code, said) = home.command(&[command, "--config", "agent.yaml"]);
            assert_eq!(code, Some(64), "{command}: {said}");
            assert!(said.contains("http.web_config_file: ") && said.contains(words), "{command}: {said}");
            assert!(!said.contains("hunter2"), "{said}");
        }
    }
    assert_eq!(home.command(&["check", "--config", "agent.yaml"]).0, Some(0));
}

#[test]
fn a_reload_takes_another_file_up_at_the_same_address() {
    let agent = Home::new().start(&idle());
    agent.home.write("web.yaml", users("first-secret"));
    let plain = format!("http: {{listen: \"{}\"}}\ndata_dir: data\n{}", agent.address(), idle());
    let guarded = plain.replacen("\"}", "\", web_config_file: web.yaml}", 1);
    agent.home.write("agent.yaml", &guarded);
    agent.signal(Signal::HUP);
    taken_up(&agent, 1);
    // The server of before goes on for a moment.
    within(SEEN, "closed", || holds(agent.get("/-/healthy").status == 401, "not yet"));
    lets_in(&agent, FIRST, SECOND);
    in_effect(&agent, FIRST, 1.0);
    // What cannot be used refuses the reload, and says so to whoever asked, who has to have logged in.
    agent.home.write("web.yaml", "basic_auth_users: [alice]");
    let ask = |headers: &[(&str, &str)]| http::ask(agent.address(), "POST", "/-/reload", headers).unwrap();
    assert_eq!(ask(&[]).status, 401);
    let answer = ask(&[("Authorization", FIRST)]);
    let said = "failed to reload config: http.web_config_file: ";
    assert!(answer.status == 500 && answer.text().starts_with(said), "{}", answer.text());
    assert!(answer.text().contains("basic_auth_users: found a list"), "{}", answer.text());
    lets_in(&agent, FIRST, SECOND);
    agent.home.write("agent.yaml", &plain);
    assert_eq!(ask(&[("Authorization", FIRST)]).status, 200);
    within(SEEN, "open again", || holds(agent.get("/-/healthy").status == 200, "not yet"));
    agent.until(SEEN, "nothing is said of a file that is not", |page| {
        holds(page.expect("brokerwarden_web_config_last_reload_successful", &[], 1.0).is_err(), "still there")
    });
}

#[test]
fn a_changed_file_is_taken_up_and_a_bad_one_is_not() {
    let agent = Home::logging_all().start_behind(&users("first-secret"), &idle());
    taken_up(&agent, 1);
    lets_in(&agent, FIRST, SECOND);
    agent.home.write("web.yaml", users("second-secret"));
    taken_up(&agent, 2);
    lets_in(&agent, SECOND, FIRST);
    agent.home.write("web.yaml", "basic_auth_users: {alice: \"\"}");
    in_effect(&agent, SECOND, 0.0);
    lets_in(&agent, SECOND, FIRST);
    let log = agent.log();
    assert!(log.contains("cannot be used; the old one goes on") && log.contains("basic_auth_users.alice"), "{log}");
    agent.home.write("web.yaml", users("first-secret"));
    taken_up(&agent, 3);
    lets_in(&agent, FIRST, SECOND);
    in_effect(&agent, FIRST, 1.0);
    let log = agent.log();
    for secret in ["first-secret", "second-secret", "$2b$", FIRST, SECOND] {
        assert!(!log.contains(secret), "the log has {secret}");
    }
}
