//! kafka_exporter's flags as an agent.yaml. Pure.

use super::flags::Flags;
use std::{
    fmt::{Display, Write},
    net::IpAddr,
};

/// Where kafka_exporter looks without `--kafka.server`.
const DEFAULT_SERVER: &str = "kafka:9092";
/// Where it listens without `--web.listen-address`, and so do we.
const DEFAULT_PORT: &str = "9308";
/// The file that the password is to be written to.
const PASSWORD_FILE: &str = "kafka-password";

/// Flags that need nothing here, and why.
const NEEDLESS: [(&str, &str); 8] = [
    ("concurrent.enable", "a scrape asks Kafka nothing here, so any number of them may come at once"),
    ("group.metrics.timeout", "there is kafka.timeout, for each request"),
    ("group.workers", "groups are not asked for one by one where __consumer_offsets can be read"),
    ("kafka.allow-auto-topic-creation", "an agent never creates a topic"),
    ("kafka.version", "versions are settled with each broker"),
    ("refresh.metadata", "metadata are read in each cycle (kafka.interval)"),
    ("sasl.disable-PA-FX-FAST", "the Kerberos library decides"),
    ("topic.workers", "offsets are asked for leader by leader, many at once"),
];

/// Flags that have no counterpart, and what to do.
const WITHOUT: [(&str, &str); 9] = [
    ("log.enable-sarama", "set kafka.properties.debug and RUST_LOG=debug to see what the client does"),
    ("log.format", "use `brokerwarden run --log-format json` where it was json"),
    ("log.level", "set RUST_LOG"),
    ("sasl.kerberos-config-path", "set KRB5_CONFIG in the agent's environment"),
    ("sasl.aws-region", "tokens of AWS IAM are not supported; use SCRAM or TLS certificates for this agent"),
    ("tls.server-name", "brokers' certificates must be for the names in bootstrap_servers and advertised.listeners"),
    ("use.consumelag.zookeeper", "groups in ZooKeeper are not read; keep a kafka_exporter for them"),
    ("verbosity", "set RUST_LOG"),
    ("zookeeper.server", "ZooKeeper is not read"),
];

const HEAD: &str = "\
# Made from kafka_exporter's flags. Names, labels and conventions of its families are the same here; what changes:
# - `up`: a scrape never waits for Kafka, so `up` says only that the agent is there. Where a rule looks at it to see whether
#   Kafka answers, use `brokerwarden_target_up{target=\"kafka\"}`: 0 when the last collection failed. Series of what was not
#   observed lately are left out, not repeated.
# - `instance`: the same as before where this agent listens at kafka_exporter's address. With one agent beside each broker
#   (`scope: broker`) it would change when leadership moves: set it to the cluster by relabeling (docs/deploying.md, Prometheus).
# - Of the exporter itself: `brokerwarden_build_info` for `kafka_exporter_build_info`, `brokerwarden_process_*` for `process_*`;
#   `go_*` and `promhttp_*` are gone.

";

/// An agent.yaml, and what it cannot say.
#[derive(Debug)]
pub(super) struct Migrated {
    /// The file.
    pub(super) yaml: String,
    /// For people: a line for each flag that has no counterpart, and for what is still to be done.
    pub(super) notes: Vec<String>,
}

/// The agent.yaml of an agent that stands in for a kafka_exporter with these flags.
///
/// # Errors
/// When they cannot be understood.
pub(super) fn agent_yaml(arguments: &[String]) -> Result<Migrated, String> {
    let flags = Flags::parse(arguments)?;
    let mut notes = Vec::new();
    let mut yaml = HEAD.to_owned();
    labels(&flags, &mut yaml, &mut notes);
    http(&flags, &mut yaml, &mut notes);
    kafka(&flags, &mut yaml, &mut notes);
    yaml.push_str("\nmetrics:\n  compatibility: [kafka_exporter]\n");
    for (name, why) in NEEDLESS.iter().filter(|(name, _)| flags.given(name)) {
        notes.push(format!("--{name}: not needed: {why}"));
    }
    for (name, instead) in WITHOUT.iter().filter(|(name, _)| flags.given(name)) {
        notes.push(format!("--{name}: no counterpart: {instead}"));
    }
    for unknown in &flags.unknown {
        notes.push(format!("{unknown}: not known of kafka_exporter up to 1.10: nothing was made of it"));
    }
    Ok(Migrated { yaml, notes })
}

/// `--kafka.labels`: labels of all series, which are Prometheus' to add here.
fn labels(flags: &Flags, yaml: &mut String, notes: &mut Vec<String>) {
    let Some(text) = flags.value("kafka.labels") else { return };
    // As kafka_exporter takes it apart: what has no `=` is passed over.
    let pairs: Vec<_> = text.split(',').filter_map(|pair| pair.split_once('=')).collect();
    if let Some((_, cluster)) = pairs.iter().find(|(name, value)| *name == "cluster" && !value.is_empty()) {
        line(
            yaml,
            format_args!("cluster: {} # in alerts; in series it is Prometheus' label, see below\n", quoted(cluster)),
        );
    }
    let pairs: Vec<_> = pairs.iter().map(|(name, value)| format!("{}: {}", quoted(name), quoted(value))).collect();
    line(
        yaml,
        format_args!("# In the scrape configuration, in place of --kafka.labels: labels: {{{}}}\n", pairs.join(", ")),
    );
    notes.push(
        "--kafka.labels: no counterpart: add these labels in Prometheus' scrape configuration (a comment has them)"
            .to_owned(),
    );
}

fn http(flags: &Flags, yaml: &mut String, notes: &mut Vec<String>) {
    yaml.push_str("http:\n");
    let address = flags.value("web.listen-address").unwrap_or(":9308");
    let (host, port) = address.rsplit_once(':').unwrap_or((address, DEFAULT_PORT));
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let port = port.parse::<u16>().map_or(DEFAULT_PORT.to_owned(), |port| port.to_string());
    let ip = match host {
        "" => Some(IpAddr::from([0, 0, 0, 0])),
        "localhost" => Some(IpAddr::from([127, 0, 0, 1])),
        host => host.parse().ok(),
    };
    let ip = ip.unwrap_or_else(|| {
        // Not to the whole world, when it was not so before.
        notes.push(
            "--web.listen-address: not an IP address: it listens at 127.0.0.1 until http.listen has one".to_owned(),
        );
        IpAddr::from([127, 0, 0, 1])
    });
    let listen = if ip.is_ipv6() { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") };
    line(yaml, format_args!("  listen: {}\n", quoted(&listen)));
    if flags.value("web.telemetry-path").is_some_and(|path| path != "/metrics") {
        notes.push(
            "--web.telemetry-path: no counterpart: the page is at /metrics; change metrics_path in Prometheus' \
            scrape configuration"
                .to_owned(),
        );
    }
    if flags.on("server.tls.enabled") {
        web_config(flags, yaml);
        notes.push(
            "--server.tls.*: write web.yaml as the comment below http.listen says, and uncomment \
            web_config_file; until then this agent serves plain HTTP"
                .to_owned(),
        );
    }
}

/// `--server.tls.*` as a web configuration file, which is another file.
fn web_config(flags: &Flags, yaml: &mut String) {
    yaml.push_str("  # web_config_file: web.yaml # with this in it:\n  #   tls_server_config:\n");
    for (key, flag) in [("cert_file", "server.tls.cert-file"), ("key_file", "server.tls.key-file")] {
        line(yaml, format_args!("  #     {key}: {}\n", quoted(flags.value(flag).unwrap_or_default())));
    }
    if flags.on("server.tls.mutual-auth-enabled") {
        let ca = quoted(flags.value("server.tls.ca-file").unwrap_or_default());
        line(
            yaml,
            format_args!("  #     client_ca_file: {ca}\n  #     client_auth_type: RequireAndVerifyClientCert\n"),
        );
    }
}

fn kafka(flags: &Flags, yaml: &mut String, notes: &mut Vec<String>) {
    let servers = flags.all("kafka.server");
    let servers = if servers.is_empty() { DEFAULT_SERVER.to_owned() } else { servers.join(",") };
    line(yaml, format_args!("\nkafka:\n  bootstrap_servers: {}\n", quoted(&servers)));
    yaml.push_str(
        "  scope: cluster # one agent for all, as kafka_exporter; `broker`: one beside each broker, each \
        with its share\n",
    );
    for (key, include, exclude) in
        [("groups", "group.filter", "group.exclude"), ("topics", "topic.filter", "topic.exclude")]
    {
        let wanted = |flag: &str, default: &str| flags.value(flag).filter(|text| *text != default);
        let filters = [("include", include, wanted(include, ".*")), ("exclude", exclude, wanted(exclude, "^$"))];
        let mut written = String::new();
        for (key, flag, text) in filters {
            let Some(text) = text else { continue };
            if regex::Regex::new(text).is_err() {
                notes.push(format!(
                    "--{flag}: not a regular expression here (no \\Q…\\E, for one): write kafka.{key} by hand"
                ));
                continue;
            }
            line(&mut written, format_args!("    {key}: [{}]\n", quoted(&anywhere(text))));
        }
        if !written.is_empty() {
            line(yaml, format_args!("  {key}: # regexes are for whole names here\n{written}"));
        }
    }
    if flags.switch("offset.show-all") == Some(false) {
        yaml.push_str("  inactive_groups: hide\n");
    }
    properties(flags, yaml, notes);
}

/// A regular expression that finds in the whole name what `text` finds anywhere in it.
fn anywhere(text: &str) -> String {
    let plain = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.*+?\\".contains(c));
    // A backslash at the end would be that of `\$`.
    match text.strip_prefix('^').and_then(|text| text.strip_suffix('$')) {
        Some(whole) if plain(whole) && !whole.ends_with('\\') => whole.to_owned(),
        _ => format!(".*(?:{text}).*"),
    }
}

/// How to log in to Kafka, and over what.
fn properties(flags: &Flags, yaml: &mut String, notes: &mut Vec<String>) {
    let (sasl, tls) = (flags.on("sasl.enabled"), flags.on("tls.enabled"));
    let mut lines: Vec<(&str, String)> = Vec::new();
    let mut add = |name: &'static str, flag: &str| {
        lines.extend(flags.value(flag).map(|value| (name, quoted(value))));
    };
    if tls {
        add("ssl.ca.location", "tls.ca-file");
        add("ssl.certificate.location", "tls.cert-file");
        add("ssl.key.location", "tls.key-file");
        if flags.on("tls.insecure-skip-tls-verify") {
            lines.push(("enable.ssl.certificate.verification", "false".to_owned()));
            notes.push(
                "--tls.insecure-skip-tls-verify: taken over: anybody can pretend to be the broker; better mend \
                ssl.ca.location"
                    .to_owned(),
            );
        }
    }
    let refused = if sasl { login(flags, &mut lines, notes) } else { None };
    let protocol = match (sasl, tls) {
        (false, false) => return,
        (false, true) => "SSL",
        (true, false) => "SASL_PLAINTEXT",
        (true, true) => "SASL_SSL",
    };
    lines.insert(0, ("security.protocol", protocol.to_owned()));
    let comment = if let Some(why) = refused {
        line(yaml, format_args!("  # {why}\n"));
        notes.push(format!("--sasl.mechanism: {why}; kafka.properties are written as comments"));
        "# "
    } else {
        ""
    };
    line(yaml, format_args!("  {comment}properties:\n"));
    for (name, value) in lines {
        line(yaml, format_args!("  {comment}  {name}: {value}\n"));
    }
}

/// Properties to log in; why this agent cannot, if it cannot.
fn login(flags: &Flags, lines: &mut Vec<(&str, String)>, notes: &mut Vec<String>) -> Option<String> {
    if flags.switch("sasl.handshake") == Some(false) {
        notes.push(
            "--no-sasl.handshake: no counterpart: an agent speaks to Kafka only, not through a proxy without a \
            handshake"
                .to_owned(),
        );
    }
    // kafka_exporter 1.4 has PLAIN where nothing is said.
    let mechanism = flags.value("sasl.mechanism").unwrap_or("plain").to_ascii_lowercase();
    let (mechanism, kerberos) = match mechanism.as_str() {
        "plain" => ("PLAIN", false),
        "scram-sha256" => ("SCRAM-SHA-256", false),
        "scram-sha512" => ("SCRAM-SHA-512", false),
        "gssapi" => ("GSSAPI", true),
        "awsiam" => {
            return Some(
                "tokens of AWS IAM are not supported; use SCRAM or TLS certificates for this agent".to_owned(),
            );
        }
        "oauthbearer" => {
            return Some(
                "write sasl.mechanism: OAUTHBEARER and sasl.oauthbearer.* as README.md shows (Logging in to brokers)"
                    .to_owned(),
            );
        }
        _ => return Some(
            "not a mechanism that kafka_exporter has; allowed there: plain, scram-sha256, scram-sha512, gssapi, awsiam"
                .to_owned(),
        ),
    };
    lines.push(("sasl.mechanism", mechanism.to_owned()));
    if kerberos {
        return self::kerberos(flags, lines);
    }
    lines.extend(flags.value("sasl.username").map(|user| ("sasl.username", quoted(user))));
    lines.push(("sasl.password_file", PASSWORD_FILE.to_owned()));
    notes.push(format!(
        "--sasl.password: not printed: write it to the file {PASSWORD_FILE} beside agent.yaml, which only the agent's \
        user may read (mode 600)"
    ));
    None
}

fn kerberos(flags: &Flags, lines: &mut Vec<(&str, String)>) -> Option<String> {
    let service = flags.value("sasl.service-name").unwrap_or("kafka");
    lines.push(("sasl.kerberos.service.name", quoted(service)));
    if let Some(user) = flags.value("sasl.username") {
        let realm = flags.value("sasl.realm").map(|realm| format!("@{realm}")).unwrap_or_default();
        lines.push(("sasl.kerberos.principal", quoted(&format!("{user}{realm}"))));
    }
    lines.extend(flags.value("sasl.keytab-path").map(|path| ("sasl.kerberos.keytab", quoted(path))));
    if flags.value("sasl.kerberos-auth-type") != Some("keytabAuth") {
        return Some(
            "Kerberos goes by a keytab here, not by a password: make one, and name it in sasl.kerberos.keytab"
                .to_owned(),
        );
    }
    (!cfg!(feature = "kerberos")).then(|| "GSSAPI needs a build with the feature kerberos".to_owned())
}

/// Text as YAML, which stands for itself: nothing is taken from the environment.
fn quoted(text: &str) -> String {
    // JSON is YAML, and has no line that ends a comment.
    serde_json::Value::from(text.replace("${", "$${")).to_string()
}

fn line(yaml: &mut String, text: impl Display) {
    write!(yaml, "{text}").ok(); // a String takes all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::{self, Config},
        kafka::Scope,
        model::Secret,
    };

    fn migrate(text: &str) -> Migrated {
        agent_yaml(&text.split_whitespace().map(str::to_owned).collect::<Vec<_>>()).unwrap()
    }

    /// The configuration as the agent reads it.
    fn read(migrated: &Migrated) -> Config {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("agent.yaml");
        std::fs::write(&path, &migrated.yaml).unwrap();
        config::load(&path, &|_| None).unwrap_or_else(|error| panic!("{error:?}\n{}", migrated.yaml))
    }

    fn kafka(text: &str) -> crate::kafka::Config {
        read(&migrate(text)).kafka.unwrap()
    }

    fn inline<'a>(kafka: &'a crate::kafka::Config, name: &str) -> Option<&'a str> {
        match kafka.properties.get(name)? {
            Secret::Inline(value) => Some(value),
            Secret::File(path) => path.to_str(),
        }
    }

    #[test]
    fn without_flags_it_is_kafka_exporter_as_it_comes() {
        let migrated = migrate("");
        assert_eq!(migrated.notes, Vec::<String>::new());
        let config = read(&migrated);
        assert_eq!(config.http.listen.to_string(), "0.0.0.0:9308");
        assert!(config.page.kafka_exporter);
        let kafka = config.kafka.unwrap();
        assert_eq!((kafka.bootstrap_servers.as_str(), kafka.scope), ("kafka:9092", Scope::Cluster));
        assert!(kafka.properties.is_empty() && !kafka.hide_inactive);
        assert!(migrated.yaml.contains("`up`") && migrated.yaml.contains("`instance`"));
    }

    #[test]
    fn servers_filters_and_listening_are_taken_over() {
        let migrated = migrate(
            "--kafka.server=a:9092 --kafka.server=b:9093 --web.listen-address=[::1]:9400 --no-offset.show-all \
             --topic.filter=^orders --topic.exclude=^__.*$ --group.filter=a|b --kafka.labels=cluster=blue,team=data,junk",
        );
        let config = read(&migrated);
        assert_eq!(config.http.listen.to_string(), "[::1]:9400");
        assert_eq!(config.cluster.as_deref(), Some("blue"));
        assert!(migrated.yaml.contains(r#"labels: {"cluster": "blue", "team": "data"}"#), "{}", migrated.yaml);
        assert_eq!(migrated.notes.len(), 1, "{:?}", migrated.notes);
        let kafka = config.kafka.unwrap();
        assert_eq!(kafka.bootstrap_servers, "a:9092,b:9093");
        assert!(kafka.hide_inactive);
        for (name, wanted) in
            [("orders", true), ("orders-eu", true), ("my-orders", false), ("__consumer_offsets", false)]
        {
            assert_eq!(kafka.topics.wants(name), wanted, "{name}");
        }
        // Found anywhere, as Go's MatchString does.
        for (name, wanted) in [("xbx", true), ("a", true), ("c", false)] {
            assert_eq!(kafka.groups.wants(name), wanted, "{name}");
        }
    }

    #[test]
    fn every_way_to_log_in_passes_our_own_check() {
        let plain = kafka("--sasl.enabled --sasl.username=u --sasl.password=p");
        assert_eq!(inline(&plain, "security.protocol"), Some("SASL_PLAINTEXT"));
        assert_eq!(inline(&plain, "sasl.mechanism"), Some("PLAIN"));
        let scram = migrate(
            "--sasl.enabled --sasl.mechanism=SCRAM-SHA512 --sasl.username=u${X} --sasl.password=hunter2 --tls.enabled \
             --tls.ca-file=/ca.pem --tls.cert-file=/c.pem --tls.key-file=/k.pem --tls.insecure-skip-tls-verify",
        );
        let text = format!("{}{:?}", scram.yaml, scram.notes);
        assert!(!text.contains("hunter2") && text.contains("mode 600"), "{text}");
        let scram = read(&scram).kafka.unwrap();
        for (name, value) in [
            ("security.protocol", "SASL_SSL"),
            ("sasl.mechanism", "SCRAM-SHA-512"),
            ("sasl.username", "u${X}"),
            ("ssl.ca.location", "/ca.pem"),
            ("ssl.certificate.location", "/c.pem"),
            ("ssl.key.location", "/k.pem"),
            ("enable.ssl.certificate.verification", "false"),
        ] {
            assert_eq!(inline(&scram, name), Some(value), "{name}");
        }
        assert!(inline(&scram, "sasl.password").unwrap().ends_with("/kafka-password"));
        assert_eq!(inline(&kafka("--tls.enabled"), "security.protocol"), Some("SSL"));
    }

    #[test]
    fn what_cannot_log_in_is_written_as_comments_and_said() {
        for flags in ["awsiam", "oauthbearer", "nonsense", "gssapi --sasl.kerberos-auth-type=userAuth"] {
            let migrated = migrate(&format!("--tls.enabled --sasl.enabled --sasl.mechanism={flags}"));
            assert!(read(&migrated).kafka.unwrap().properties.is_empty(), "{flags}");
            assert!(migrated.notes.iter().any(|note| note.contains("written as comments")), "{flags}");
        }
        let keytab = "--sasl.enabled --sasl.mechanism=gssapi --sasl.kerberos-auth-type=keytabAuth --sasl.username=u \
                      --sasl.realm=R --sasl.keytab-path=/k";
        let migrated = migrate(keytab);
        assert!(migrated.yaml.contains(r#"sasl.kerberos.principal: "u@R""#), "{}", migrated.yaml);
        assert_eq!(read(&migrated).kafka.unwrap().properties.is_empty(), !cfg!(feature = "kerberos"));
    }

    #[test]
    fn what_has_no_counterpart_is_named() {
        let migrated = migrate(
            "--server.tls.enabled --server.tls.cert-file=c --server.tls.key-file=k --server.tls.mutual-auth-enabled \
             --server.tls.ca-file=a --web.telemetry-path=/m --topic.workers=9 --use.consumelag.zookeeper --tls.server-name=x \
             --group.filter=\\Qa\\E --web.listen-address=host:1 --frobnicate=secret",
        );
        let config = read(&migrated);
        assert_eq!(config.http.listen.to_string(), "127.0.0.1:1");
        assert!(config.http.web_config_file.is_none() && migrated.yaml.contains(r#"client_ca_file: "a""#));
        let notes = migrated.notes.join("\n");
        for flag in [
            "--server.tls.*:",
            "--web.telemetry-path:",
            "--topic.workers: not needed",
            "--use.consumelag.zookeeper: no counterpart",
            "--tls.server-name: no counterpart",
            "--group.filter: not a regular",
            "--web.listen-address: not an IP",
            "--frobnicate: not known",
        ] {
            assert!(notes.contains(flag), "{flag}\n{notes}");
        }
        assert!(!notes.contains("secret") && migrated.notes.len() == 8, "{notes}");
        assert!(agent_yaml(&["--kafka.server".to_owned()]).is_err());
    }
}
