//! Flags as kafka_exporter takes them: `--name=value`, `--name value`, `--switch`, `--no-switch`. Pure.

use std::collections::BTreeMap;

/// Flags with a value, up to kafka_exporter 1.10.
const VALUES: [&str; 33] = [
    "group.exclude",
    "group.filter",
    "group.metrics.timeout",
    "group.workers",
    "kafka.labels",
    "kafka.server",
    "kafka.version",
    "log.format",
    "log.level",
    "refresh.metadata",
    "sasl.aws-region",
    "sasl.kerberos-auth-type",
    "sasl.kerberos-config-path",
    "sasl.keytab-path",
    "sasl.mechanism",
    "sasl.password",
    "sasl.realm",
    "sasl.service-name",
    "sasl.username",
    "server.tls.ca-file",
    "server.tls.cert-file",
    "server.tls.key-file",
    "tls.ca-file",
    "tls.cert-file",
    "tls.key-file",
    "tls.server-name",
    "topic.exclude",
    "topic.filter",
    "topic.workers",
    "verbosity",
    "web.listen-address",
    "web.telemetry-path",
    "zookeeper.server",
];

/// Flags that are on or off.
const SWITCHES: [&str; 12] = [
    "concurrent.enable",
    "kafka.allow-auto-topic-creation",
    "log.enable-sarama",
    "offset.show-all",
    "sasl.disable-PA-FX-FAST",
    "sasl.enabled",
    "sasl.handshake",
    "server.tls.enabled",
    "server.tls.mutual-auth-enabled",
    "tls.enabled",
    "tls.insecure-skip-tls-verify",
    "use.consumelag.zookeeper",
];

/// What a command line says.
#[derive(Debug, Default)]
pub(super) struct Flags {
    values: BTreeMap<&'static str, Vec<String>>,
    switches: BTreeMap<&'static str, bool>,
    /// What is no flag of kafka_exporter that is known here, as written but for its value.
    pub(super) unknown: Vec<String>,
}

impl Flags {
    /// Reads a command line; what is unknown is kept apart.
    ///
    /// # Errors
    /// When a flag that needs a value has none, or a switch has another than `true` and `false`.
    pub(super) fn parse(arguments: &[String]) -> Result<Self, String> {
        let mut flags = Self::default();
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            let Some(flag) = argument.strip_prefix("--") else {
                // The value of an unknown flag, perhaps a secret.
                flags.unknown.push("an argument that is no flag".to_owned());
                continue;
            };
            let (name, value) = match flag.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (flag, None),
            };
            if let Some(name) = VALUES.iter().find(|known| **known == name) {
                let value = value.or_else(|| arguments.next().cloned());
                let value = value.ok_or_else(|| format!("--{name}: no value; write --{name}=VALUE"))?;
                flags.values.entry(name).or_default().push(value);
            } else if let Some((name, on)) = switch(name) {
                let on = match value.as_deref() {
                    None => on,
                    Some("true") => true,
                    Some("false") => false,
                    Some(_) => return Err(format!("--{name}: another value than true and false")),
                };
                flags.switches.insert(name, on);
            } else {
                flags.unknown.push(format!("--{name}"));
            }
        }
        Ok(flags)
    }

    /// All values of a flag that may be repeated.
    pub(super) fn all(&self, name: &str) -> &[String] {
        self.values.get(name).map_or(&[], Vec::as_slice)
    }

    /// The last value of a flag that is not empty; empty is kafka_exporter's "not given".
    pub(super) fn value(&self, name: &str) -> Option<&str> {
        self.all(name).last().map(String::as_str).filter(|value| !value.is_empty())
    }

    /// A switch, where it was given.
    pub(super) fn switch(&self, name: &str) -> Option<bool> {
        self.switches.get(name).copied()
    }

    /// Is a switch on that is off where it is not given?
    pub(super) fn on(&self, name: &str) -> bool {
        self.switch(name).unwrap_or(false)
    }

    /// Was it given at all?
    pub(super) fn given(&self, name: &str) -> bool {
        self.values.contains_key(name) || self.switches.contains_key(name)
    }
}

fn switch(name: &str) -> Option<(&'static str, bool)> {
    let find = |name: &str| SWITCHES.iter().find(|known| **known == name).copied();
    find(name).map(|name| (name, true)).or_else(|| find(name.strip_prefix("no-")?).map(|name| (name, false)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Flags, String> {
        Flags::parse(&text.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn flags_are_read_as_kafka_exporter_does() {
        let flags =
            parse("--kafka.server=a:1 --kafka.server b:2 --sasl.enabled --no-sasl.handshake --tls.enabled=false")
                .unwrap();
        assert_eq!(flags.all("kafka.server"), ["a:1", "b:2"]);
        assert!(flags.on("sasl.enabled") && !flags.on("tls.enabled") && flags.given("tls.enabled"));
        assert_eq!(flags.switch("sasl.handshake"), Some(false));
        assert_eq!(flags.switch("offset.show-all"), None);
        assert!(flags.unknown.is_empty());
        assert_eq!(parse("--topic.filter=a=b").unwrap().value("topic.filter"), Some("a=b"));
        assert_eq!(parse("--sasl.username=").unwrap().value("sasl.username"), None);
    }

    #[test]
    fn what_is_not_known_is_named_without_its_value() {
        let flags = parse("--sasl.pasword=hunter2 --secret hunter2").unwrap();
        assert_eq!(flags.unknown, ["--sasl.pasword", "--secret", "an argument that is no flag"]);
        assert_eq!(parse("--kafka.server").unwrap_err(), "--kafka.server: no value; write --kafka.server=VALUE");
        assert!(parse("--sasl.enabled=hunter2").unwrap_err().ends_with("another value than true and false"));
    }
}
