//! `brokerwarden doctor`: what an agent with this configuration could not do here, before it runs or beside it.

mod expiry;
mod finding;
mod host;
mod places;
mod reach;
mod skew;

use super::{
    EXIT_CHECK_FAILED, EXIT_USAGE,
    run::{block_on, load},
};
use crate::{clock, config};
use finding::{Finding, Level};
use futures_util::future::join_all;
use places::Places;
use std::{path::Path, process::ExitCode};

/// What it does not look at.
const NOT_LOOKED_AT: &str = "not looked at: ACLs but DESCRIBE on __consumer_offsets (a running agent says at /-/ready and \
    on the page at / what it lacks), brokers' clocks without a JMX page, tokens (OAUTHBEARER), whether receivers take an \
    alert (`brokerwarden notify test NAME`), rules (`brokerwarden check`)";

pub(super) fn main(path: &Path) -> ExitCode {
    let config = match load(path) {
        Ok(config) => config,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(EXIT_USAGE);
        }
    };
    let mut failed = false;
    let mut tell = |findings: Vec<Finding>| {
        for finding in findings {
            failed |= finding.level == Level::Fail;
            println!("{finding}");
        }
    };
    let web = config.http.web_config_file.as_deref().map(config::web_config).transpose();
    let web = web.unwrap_or_else(|error| {
        tell(vec![Finding::fail("http.web_config_file", error, "mend it; the agent does not start with it")]);
        None
    });
    let places = Places::of(&config, web.as_ref());
    let now = clock::now();
    tell(host::user().into_iter().collect());
    tell(host::data_dir(&config.data_dir));
    tell(config.rules.rules_dir.iter().map(|folder| host::rules_dir(folder)).collect());
    tell(places.secrets.iter().map(|(about, file)| host::secret(about, file)).collect());
    tell(host::inline(path, &places.inline).into_iter().collect());
    let certificates = places.certificates.iter();
    tell(certificates.map(|(about, file, whose)| host::certificate(about, file, *whose, now)).collect());
    let code = block_on(async {
        tell(join_all(config.jmx.iter().map(reach::page)).await.into_iter().flatten().collect());
        tell(join_all(places.receivers.iter().map(|(about, address)| reach::receiver(about, address))).await);
        if let Some(kafka) = &config.kafka {
            tell(reach::brokers(kafka).await);
        }
        Ok(true)
    });
    println!("{NOT_LOOKED_AT}");
    if failed { ExitCode::from(EXIT_CHECK_FAILED) } else { code }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(yaml: &str) -> String {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("agent.yaml");
        std::fs::create_dir(dir.path().join("rules")).unwrap();
        std::fs::write(&path, yaml).unwrap();
        format!("{:?}", main(&path))
    }

    #[test]
    fn the_exit_code_says_whether_something_fails() {
        let is = |code: u8| format!("{:?}", ExitCode::from(code));
        let cluster = rdkafka::mocking::MockCluster::new(1).unwrap();
        let servers = cluster.bootstrap_servers();
        assert_eq!(code(&format!("kafka: {{bootstrap_servers: '{servers}'}}")), is(super::super::EXIT_OK));
        let nobody = "notify: [{name: am, type: alertmanager, urls: ['http://127.0.0.1:1']}]";
        assert_eq!(code(&format!("kafka: {{bootstrap_servers: '{servers}'}}\n{nobody}")), is(EXIT_CHECK_FAILED));
        assert_eq!(code("kafka: {bootstrap_servers: nonsense}"), is(EXIT_USAGE));
    }
}
