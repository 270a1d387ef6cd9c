//! A real Prometheus scrapes agents behind web configuration files, with its own client configuration for each.

use crate::harness::{
    certificates::Authority,
    daemon::{Daemon, Home, idle},
    holds,
    prometheus::Prometheus,
    temp_dir, within,
};
use std::{fmt::Write as _, fs, time::Duration};

/// Longest wait for a scrape that shows something; a change of a file takes 4 s to be taken up.
const SEEN: Duration = Duration::from_mins(1);

const PASSWORD: &str = "open:sesame ü";

/// A job that scrapes that agent every second: its name, and all of it.
fn job<'n>(name: &'n str, agent: &Daemon, keys: &str) -> (&'n str, String) {
    let target = format!("localhost:{}", agent.address().port());
    (name, format!("  - {{job_name: {name}, static_configs: [{{targets: [\"{target}\"]}}], {keys}}}\n"))
}

#[test]
fn each_client_configuration_of_prometheus_scrapes_what_it_is_for() {
    let dir = temp_dir("certificates");
    let ours = Authority::new(&dir.path().join("ours"));
    let other = Authority::new(&dir.path().join("other"));
    ours.issue("server", "DNS:localhost,IP:127.0.0.1", 30);
    ours.issue("client", "DNS:prometheus.example.com", 30);
    ours.issue("visitor", "DNS:visitor.example.com", 30);
    other.issue("client", "DNS:prometheus.example.com", 30);
    let secret = dir.path().join("password");
    fs::write(&secret, PASSWORD).unwrap();
    let users = format!("basic_auth_users: {{prometheus: {}}}", bcrypt::hash(PASSWORD, 10).unwrap());
    let tls = format!("cert_file: {}, key_file: {}", ours.file("server.pem"), ours.file("server.key"));
    let mutual = format!(
        "{tls}, client_auth_type: RequireAndVerifyClientCert, client_ca_file: {}, \
         client_allowed_sans: [prometheus.example.com], min_version: TLS13",
        ours.file("ca.pem")
    );

    let plain = Home::new().start(&idle());
    let basic = Home::new().start_behind(&users, &idle());
    let encrypted = Home::new().start_behind(&format!("tls_server_config: {{{tls}}}"), &idle());
    let both = Home::new().start_behind(&format!("tls_server_config: {{{tls}}}\n{users}"), &idle());
    let mutually = Home::new().start_behind(&format!("tls_server_config: {{{mutual}}}"), &idle());

    let (ca, file) = (ours.file("ca.pem"), secret.display());
    let login = format!("basic_auth: {{username: prometheus, password_file: {file}}}");
    let wrong = "basic_auth: {username: prometheus, password: open}";
    let https = |keys: &str| format!("scheme: https, tls_config: {{ca_file: {ca}{keys}}}");
    let showing = |of: &Authority, name: &str| {
        let files = [".pem", ".key"].map(|end| of.file(&format!("{name}{end}")));
        https(&format!(", cert_file: {}, key_file: {}", files[0], files[1]))
    };
    let good = [
        job("plain", &plain, "scheme: http"),
        job("basic", &basic, &login),
        job("tls", &encrypted, &https("")),
        job("tls12", &encrypted, &https(", max_version: TLS12")),
        job("tls_basic", &both, &format!("{}, {login}", https(""))),
        job("mtls", &mutually, &showing(&ours, "client")),
    ];
    let bad = [
        job("wrong_password", &basic, wrong),
        job("no_password", &basic, "scheme: http"),
        job("a_token", &basic, "authorization: {credentials: open}"),
        job("wrong_ca", &encrypted, &https("").replace(&ca, &other.file("ca.pem"))),
        job("wrong_name", &encrypted, &https(", server_name: example.com")),
        job("no_tls", &encrypted, "scheme: http"),
        job("tls_wrong_password", &both, &format!("{}, {wrong}", https(""))),
        job("no_certificate", &mutually, &https("")),
        job("somebody_elses_certificate", &mutually, &showing(&other, "client")),
        job("certificate_of_another_name", &mutually, &showing(&ours, "visitor")),
        job("too_old", &mutually, &format!("{}, max_version: TLS12}}", showing(&ours, "client").trim_end_matches('}'))),
    ];
    let jobs: String = good.iter().chain(&bad).map(|(_, job)| job.as_str()).collect();
    let prometheus =
        Prometheus::start(&[("prometheus.yml", &format!("global: {{scrape_interval: 1s}}\nscrape_configs:\n{jobs}"))]);

    within(SEEN, "scrapes", || {
        let mut missing = String::new();
        for (jobs, want) in [(&good[..], 1.0), (&bad[..], 0.0)] {
            for (job, _) in jobs {
                // 20 s of it, so that throttling had its say.
                let up = prometheus.query(&format!("count_over_time(up{{job=\"{job}\"}}[5m])"));
                let right = prometheus.query(&format!("avg_over_time(up{{job=\"{job}\"}}[5m])"));
                if !up.clone().is_ok_and(|count| count >= 20.0) || right != Ok(want) {
                    write!(missing, "{job}: {up:?} scrapes, {right:?} of them good; ").unwrap();
                }
            }
        }
        holds(missing.is_empty(), missing)
    });
    for (job, _) in &good {
        let samples = prometheus.query(&format!("scrape_samples_scraped{{job=\"{job}\"}}")).unwrap();
        assert!(samples > 20.0, "{job}: {samples} samples");
    }
    // Who had the wrong password for long enough is not even looked at, at the same address as the one who is let in.
    let refused = |reason: &str| {
        prometheus.query(&format!("brokerwarden_http_logins_refused_total{{job=\"basic\",reason=\"{reason}\"}}"))
    };
    assert!(refused("throttled").is_ok_and(|count| count > 0.0), "{:?}", refused("throttled"));
    assert!(refused("wrong").is_ok_and(|count| count >= 10.0), "{:?}", refused("wrong"));

    files_are_taken_up(&prometheus, &encrypted, &ours, &other);
}

/// While Prometheus scrapes: a certificate that cannot be used changes nothing, one of another CA's is not trusted.
fn files_are_taken_up(prometheus: &Prometheus, agent: &Daemon, ours: &Authority, other: &Authority) {
    let says = |query: &str, want: f64| {
        within(SEEN, query, || {
            let value = prometheus.query(query)?;
            holds(value.to_bits() == want.to_bits(), format!("{value}, wanted {want}"))
        });
    };
    let successful = "brokerwarden_web_config_last_reload_successful{job=\"tls\"}";
    says(successful, 1.0);
    let (certificate, key) = (ours.read("server.pem"), ours.read("server.key"));
    fs::write(ours.file("server.pem"), "no certificate\n").unwrap();
    says(successful, 0.0);
    says("up{job=\"tls\"}", 1.0);
    assert!(agent.log().contains("tls_server_config.cert_file: no certificate in PEM in"), "{}", agent.log());
    other.issue("server", "DNS:localhost", 30);
    fs::copy(other.file("server.key"), ours.file("server.key")).unwrap();
    fs::copy(other.file("server.pem"), ours.file("server.pem")).unwrap();
    says("up{job=\"tls\"}", 0.0);
    fs::write(ours.file("server.key"), key).unwrap();
    fs::write(ours.file("server.pem"), certificate).unwrap();
    says("up{job=\"tls\"}", 1.0);
    says(successful, 1.0);
}
