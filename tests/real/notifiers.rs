//! Notifiers with what they are for: two Alertmanagers, with amtool as the eye, and a mail server that wants TLS and a
//! password.

#![expect(clippy::float_cmp, reason = "counts, and offsets: whole numbers")]

use crate::{
    harness::{
        certificates::Authority,
        daemon::{Home, idle},
        free_port, guests,
        guests::Fault,
        holds, local,
        process::{Process, run},
        prometheus::Alertmanager,
        within,
    },
    shared::SEEN,
};
use serde_json::Value;
use std::{path::Path, process::Command};

/// What amtool shows of the alerts with that name.
fn amtool(alertmanager: &Alertmanager, alertname: &str) -> Vec<Value> {
    let matcher = format!("alertname={alertname}");
    let url = format!("--alertmanager.url={}", alertmanager.url());
    let (code, said) = run(Command::new("amtool").args(["alert", "query", &url, "--output=json", &matcher]), "");
    assert_eq!(code, Some(0), "{said}");
    serde_json::from_str::<Value>(&said).unwrap().as_array().cloned().unwrap_or_default()
}

#[test]
fn each_alertmanager_is_told_each_alert_that_matches() {
    let all = [Alertmanager::start(), Alertmanager::start()];
    let home = Home::new();
    home.write("rules/always.wasm", guests::rule("Always", Fault::None));
    home.write("rules/other.wasm", guests::rule("Other", Fault::None));
    let [one, two] = [all[0].url(), all[1].url()];
    let notify = format!(
        "notify: [{{name: am, type: alertmanager, urls: [\"{one}\", \"{two}\"], match: ['alertname!~\"Oth.*\"']}}]"
    );
    let agent = home.start(&format!("{}\nrules_dir: rules\n{notify}", idle()));
    for alertmanager in &all {
        within(SEEN, "Alertmanager has it", || {
            let alerts = amtool(alertmanager, "Always");
            holds(alerts.len() == 1 && alerts[0]["labels"]["rule"] == "always", format!("{alerts:?}"))
        });
        assert_eq!(amtool(alertmanager, "Other"), Vec::<Value>::new(), "it does not match");
    }

    // The test alert passes by `match`.
    let (code, said) = agent.home.command(&["notify", "test", "am", "--config", "agent.yaml"]);
    assert_eq!(code, Some(0), "{said}");
    for (url, alertmanager) in [&one, &two].into_iter().zip(&all) {
        assert!(said.contains(&format!("told {url}/: 200 OK")), "{said}");
        let alerts = amtool(alertmanager, "BrokerwardenTest");
        assert!(
            alerts.len() == 1 && alerts[0]["annotations"]["summary"].to_string().contains("nothing is wrong"),
            "{alerts:?}"
        );
    }
    drop(all);
    let (code, said) = agent.home.command(&["notify", "test", "am", "--config", "agent.yaml"]);
    assert!(code == Some(1) && said.matches("NOT told").count() == 2, "{code:?}: {said}");
    let (code, said) = agent.home.command(&["notify", "test", "pm", "--config", "agent.yaml"]);
    assert!(code == Some(64) && said.contains("there are: am"), "{code:?}: {said}");
}

struct MailServer {
    process: Process,
    port: u16,
}

impl MailServer {
    fn start(dir: &Path, authority: &Authority) -> Self {
        let port = free_port();
        // Debian's own, which has Debian's module.
        let python = Path::new("/usr/bin/python3");
        let mut command = Command::new(if python.exists() { python } else { Path::new("python3") });
        command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/real/mail_server.py")).arg(port.to_string());
        command.arg(authority.file("mail.pem")).arg(authority.file("mail.key"));
        let mut process = Process::start("the mail server", &mut command, &dir.join("mails"));
        within(SEEN, "the mail server listens", || {
            process.must_run();
            std::net::TcpStream::connect(local(port)).map(drop).map_err(|error| error.to_string())
        });
        Self { process, port }
    }

    /// What it took for that mailbox.
    fn mails(&self, to: &str) -> Vec<Value> {
        let output = self.process.output();
        let mails = output.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        mails.filter(|mail| mail["to"][0] == to).collect()
    }
}

#[test]
fn mails_arrive_whole_by_tls_and_with_a_password() {
    let home = Home::new();
    let authority = Authority::new(&home.path("tls"));
    authority.issue("mail", "DNS:localhost,IP:127.0.0.1", 10);
    let server = MailServer::start(&home.path("."), &authority);
    home.write("password", "hunter2\n");
    home.write("wrong", "hunter3\n");
    home.write("rules/always.wasm", guests::rule("Always", Fault::None));
    let mail = |name: &str, password: &str, ca: &str| {
        format!(
            "- {{name: {name}, type: email, smarthost: \"localhost:{}\", from: \"Warden <warden@example.org>\", \
             to: [ops@example.org, dev@example.org], auth_username: warden, auth_password_file: {password}, {ca} \
             match: ['alertname=\"Always\"'], title: \"[{{{{ status }}}}] {{{{ groupLabels.alertname }}}} \u{e4}\"}}\n",
            server.port
        )
    };
    let trusting = format!("tls_config: {{ca_file: \"{}\"}},", authority.file("ca.pem"));
    let notify = [
        "notify:\n".to_owned(),
        mail("good", "password", &trusting),
        mail("refused", "wrong", &trusting),
        mail("stranger", "password", ""),
    ];
    let agent = home.start(&format!("{}\nrules_dir: rules\n{}", idle(), notify.concat()));
    for to in ["ops@example.org", "dev@example.org"] {
        let mails = within(SEEN, "the mail arrived", || {
            let mails = server.mails(to);
            holds(!mails.is_empty(), "none yet").map(|()| mails)
        });
        assert_eq!(mails.len(), 1, "{mails:?}");
        let mail = &mails[0];
        assert_eq!((mail["tls"].as_bool(), mail["user"].as_str()), (Some(true), Some("warden")), "{mail}");
        let header = |name: &str| mail["headers"][name].as_str().unwrap_or_default().to_owned();
        assert_eq!((header("subject"), header("to")), ("[firing] Always \u{e4}".to_owned(), to.to_owned()));
        assert_eq!(header("auto-submitted"), "auto-generated");
        assert!(mail["text"].as_str().unwrap().contains("alertname=Always"), "{mail}");
        assert!(mail["html"].as_str().unwrap().contains("<td>Always</td>"), "{mail}");
        assert_eq!(mail["defects"], Value::Array(Vec::new()));
    }

    let test = |name: &str| agent.home.command(&["notify", "test", name, "--config", "agent.yaml"]);
    let (code, said) = test("good");
    assert!(code == Some(0) && said.matches(": 250: taken").count() == 2, "{code:?}: {said}");
    let (code, said) = test("refused");
    assert!(code == Some(1) && said.contains("answered 535 to AUTH") && !said.contains("hunter3"), "{code:?}: {said}");
    let (code, said) = test("stranger");
    assert!(code == Some(1) && said.contains("certificate"), "{code:?}: {said}");
    agent.until(SEEN, "what is refused counts, and is tried again", |page| {
        let told =
            |name, outcome| page.sum("brokerwarden_notifications_total", &[("notifier", name), ("outcome", outcome)]);
        holds(told("refused", "retried") > 0.0 && told("stranger", "retried") > 0.0, "not yet")?;
        holds(told("refused", "failed") == 0.0 && told("good", "sent") == 2.0, "failed")
    });
}
