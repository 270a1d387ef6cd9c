//! The handles of one collector, and what they need besides properties: tokens, new handles when a file with a secret or
//! a certificate changed (librdkafka reads both only when a handle is made), and a closer look at a certificate that it
//! does not trust. All of that is done on one thread, `kafka-secrets`, so that nothing of the cycle waits for it.

use super::{
    Config,
    client::{self, ClientError, Handle, LOCATIONS, MAX_SECRET_FILE, Pace},
    hints, oauth,
    tls::{self, MAX_CA_FILE, Trust},
    tokens::Keeper,
};
use crate::{
    events::SelfMetrics,
    files::{self, Changes},
    model::{BoundedText, Secret, families},
    supervise::Stop,
};
use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// How often files with secrets and certificates are looked at. A change counts when two looks in a row saw it.
pub const LOOK_INTERVAL: Duration = Duration::from_secs(5);
/// How long what was found out about a certificate counts.
pub const DIAGNOSIS_MEMORY: Duration = Duration::from_secs(30);

/// See the module.
pub struct Handles {
    config: Config,
    metrics: Arc<SelfMetrics>,
    /// `None`: no token is needed.
    tokens: Option<Keeper>,
    /// Files that handles were made of.
    files: Vec<(PathBuf, u64)>,
    changes: Mutex<Changes>,
    requests: Mutex<Arc<Handle>>,
    generation: AtomicU64,
    /// `None`: connections have no TLS.
    diagnosis: Option<Mutex<Diagnosis>>,
}

/// What is wrong with a broker's certificate.
#[derive(Default)]
struct Diagnosis {
    /// `host:port`.
    wanted: Option<String>,
    found: Option<(String, Instant, Option<String>)>,
}

impl Handles {
    /// Makes the first handle, for requests.
    ///
    /// # Errors
    /// When a property cannot be read or is refused.
    pub fn new(config: Config, metrics: Arc<SelfMetrics>) -> Result<Self, ClientError> {
        let value = |name: &str| client::property(&config, name);
        let protocol = protocol(&config)?;
        let tokens = wants_tokens(&config)?;
        if tokens {
            oauth::TokenRequest::read(value)?;
        }
        let tokens = tokens.then(Keeper::default);
        let files = files_of(&config);
        // Before the handle is made: of a change in between comes a handle too many, and not one too few.
        let changes = Mutex::new(Changes::new(files::contents(&files)));
        let requests = Arc::new(client::requests(&config, &metrics)?);
        if let Some(tokens) = &tokens {
            tokens.adopt(&requests);
        }
        Ok(Self {
            tokens,
            files,
            changes,
            requests: Mutex::new(requests),
            generation: AtomicU64::new(0),
            diagnosis: protocol.ends_with("ssl").then(Mutex::default),
            config,
            metrics,
        })
    }

    /// The present handle for metadata and offsets.
    pub fn requests(&self) -> Arc<Handle> {
        Arc::clone(&locked(&self.requests))
    }

    /// Rises when handles are to be made anew.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// A handle that reads `__consumer_offsets`.
    ///
    /// # Errors
    /// As [`Handles::new`].
    pub fn reader(&self, pace: Pace) -> Result<Arc<Handle>, ClientError> {
        client::reader(&self.config, pace, &self.metrics).map(|handle| self.adopted(handle))
    }

    /// A handle that asks for groups one by one.
    ///
    /// # Errors
    /// As [`Handles::new`].
    pub fn admin(&self) -> Result<Arc<Handle>, ClientError> {
        client::admin(&self.config, &self.metrics).map(|handle| self.adopted(handle))
    }

    /// A handle for last stable offsets.
    ///
    /// # Errors
    /// As [`Handles::new`].
    pub fn last_stable(&self) -> Result<Arc<Handle>, ClientError> {
        client::last_stable(&self.config, &self.metrics).map(|handle| self.adopted(handle))
    }

    fn adopted(&self, handle: Handle) -> Arc<Handle> {
        let handle = Arc::new(handle);
        if let Some(tokens) = &self.tokens {
            tokens.adopt(&handle);
        }
        handle
    }

    /// Why nobody answers, given what a handle complained of.
    pub fn why(&self, complaint: Option<String>) -> Option<String> {
        if let Some(missing) = self.tokens.as_ref().and_then(Keeper::missing) {
            return Some(missing);
        }
        let complaint = complaint?;
        let (Some(diagnosis), Some(address)) = (&self.diagnosis, hints::whose_certificate(&complaint)) else {
            return Some(complaint);
        };
        let mut diagnosis = locked(diagnosis);
        if let Some((whose, at, found)) = &diagnosis.found
            && whose == address
            && at.elapsed() < DIAGNOSIS_MEMORY
        {
            return found.clone().or(Some(complaint));
        }
        diagnosis.wanted = Some(address.to_owned());
        Some(complaint)
    }

    /// What will keep brokers from letting us in soon, though they do now.
    pub fn trouble(&self) -> Option<String> {
        self.tokens.as_ref().and_then(Keeper::trouble)
    }

    /// Is there anything for the thread to do?
    pub fn need_care(&self) -> bool {
        self.tokens.is_some() || !self.files.is_empty() || self.diagnosis.is_some()
    }

    /// The thread: takes care of all this until told to stop.
    pub fn care(&self, stop: &Stop) {
        let mut look_at = Instant::now() + LOOK_INTERVAL;
        while !stop.stopped() {
            let token_in = self.tokens.as_ref().map(|tokens| tokens.turn(&self.config, &self.metrics, stop));
            if Instant::now() >= look_at {
                self.look_at_files();
                self.look_at_certificate();
                look_at = Instant::now() + LOOK_INTERVAL;
            }
            let look_in = look_at.saturating_duration_since(Instant::now());
            stop.sleep(token_in.map_or(look_in, |token_in| token_in.min(look_in)));
        }
    }

    fn look_at_files(&self) {
        let now = files::contents(&self.files);
        let changed = {
            let mut changes = locked(&self.changes);
            // One that is gone is perhaps being replaced.
            changes.see(now) && !changes.lost()
        };
        if !changed {
            return;
        }
        let renewed = client::requests(&self.config, &self.metrics).map(|handle| self.adopted(handle));
        let mut changes = locked(&self.changes);
        match renewed {
            Ok(handle) => {
                *locked(&self.requests) = handle;
                self.generation.fetch_add(1, Ordering::AcqRel);
                changes.used();
                self.metrics.count(&families::KAFKA_SECRETS_RELOADS, &["loaded"]);
                tracing::info!("a file with a secret or certificate changed: connections to Kafka are made anew");
            }
            // The old connections stand as long as brokers let them.
            Err(error) => {
                if changes.refused() {
                    self.metrics.count(&families::KAFKA_SECRETS_RELOADS, &["refused"]);
                    let error = error.with_cause();
                    tracing::warn!(
                        %error,
                        "a file with a secret or certificate changed, and no connection can be made with it; those of before go on"
                    );
                }
            }
        }
    }

    /// Finds out what is wrong with the certificate that was complained of, if one was: waits for its broker.
    pub fn look_at_certificate(&self) {
        let Some(diagnosis) = &self.diagnosis else { return };
        let Some(address) = locked(diagnosis).wanted.take() else { return };
        let trust = |pem: Option<String>, location: Option<String>| match (pem, location) {
            (Some(pem), _) => Trust::Pem(pem),
            (None, Some(path)) if path != "probe" => Trust::File(PathBuf::from(path)),
            _ => Trust::System,
        };
        let value = |name: &str| client::property(&self.config, name).ok().flatten();
        let found = tls::what_is_wrong(&address, &trust(value("ssl.ca.pem"), value("ssl.ca.location")));
        tracing::debug!(address = %BoundedText(&address, client::MAX_ERROR_TEXT), ?found, "looked at a certificate");
        locked(diagnosis).found = Some((address, Instant::now(), found));
    }
}

fn protocol(config: &Config) -> Result<String, ClientError> {
    Ok(client::property(config, "security.protocol")?.unwrap_or_default().to_ascii_lowercase())
}

/// Do brokers want a token that we are to fetch?
///
/// # Errors
/// When a property cannot be read.
pub fn wants_tokens(config: &Config) -> Result<bool, ClientError> {
    let value = |name: &str| client::property(config, name);
    let mechanism = value("sasl.mechanisms")?.map_or_else(|| value("sasl.mechanism"), |value| Ok(Some(value)))?;
    let oidc = value(oauth::METHOD)?.is_some_and(|method| method.eq_ignore_ascii_case("oidc"));
    Ok(protocol(config)?.starts_with("sasl_") && mechanism.as_deref() == Some("OAUTHBEARER") && oidc)
}

/// Files that librdkafka reads, or that are read for it, when a handle is made, and how much of each.
pub fn files_of(config: &Config) -> Vec<(PathBuf, u64)> {
    let file = |(name, secret): (&String, &Secret)| match secret {
        // Read anew for each token.
        _ if oauth::PROPERTIES.contains(&name.as_str()) => None,
        Secret::File(path) => Some((path.clone(), MAX_SECRET_FILE)),
        Secret::Inline(path) if LOCATIONS.contains(&name.as_str()) && path != "probe" => {
            Some((PathBuf::from(path), MAX_CA_FILE))
        }
        Secret::Inline(_) => None,
    };
    config.properties.iter().filter_map(file).collect()
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::config_for_tests;
    use std::fs;

    fn handles(properties: &[(&str, Secret)]) -> Handles {
        let mut config = config_for_tests("127.0.0.1:1");
        config.properties = properties.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        Handles::new(config, Arc::default()).expect("handles")
    }

    fn inline(text: &str) -> Secret {
        Secret::Inline(text.to_owned())
    }

    #[test]
    fn handles_are_made_anew_when_a_secret_changed() {
        let dir = tempfile::tempdir().unwrap();
        let password = dir.path().join("password");
        fs::write(&password, "first").unwrap();
        let handles = handles(&[
            ("security.protocol", inline("SASL_PLAINTEXT")),
            ("sasl.mechanism", inline("PLAIN")),
            ("sasl.username", inline("warden")),
            ("sasl.password", Secret::File(password.clone())),
        ]);
        assert!(handles.need_care());
        let first = handles.requests();
        handles.look_at_files();
        assert_eq!(handles.generation(), 0);
        fs::write(&password, "second").unwrap();
        handles.look_at_files();
        assert_eq!(handles.generation(), 0, "seen once only");
        handles.look_at_files();
        assert_eq!(handles.generation(), 1);
        assert!(!Arc::ptr_eq(&first, &handles.requests()));
        assert_eq!(handles.metrics.value(&families::KAFKA_SECRETS_RELOADS, &["loaded"]), Some(1.0));
        // A file that is too large cannot be read: it counts as gone, and the handles of before go on.
        fs::write(&password, vec![b'x'; 1 << 20]).unwrap();
        handles.look_at_files();
        handles.look_at_files();
        assert_eq!(handles.generation(), 1);
    }

    #[test]
    fn a_certificate_that_cannot_be_used_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let ca = dir.path().join("ca.pem");
        let path = inline(&ca.display().to_string());
        // Without TLS nothing is read, so that anything is a file to begin with.
        fs::write(&ca, "first").unwrap();
        let mut handles = handles(&[("ssl.ca.location", path)]);
        handles.config.properties.insert("security.protocol".to_owned(), inline("SSL"));
        fs::write(&ca, "no certificate").unwrap();
        for _ in 0..3 {
            handles.look_at_files();
        }
        assert_eq!(handles.generation(), 0);
        assert_eq!(handles.metrics.value(&families::KAFKA_SECRETS_RELOADS, &["refused"]), Some(1.0));
    }

    #[test]
    fn without_secrets_there_is_nothing_to_care_for() {
        assert!(!handles(&[("client.rack", inline("a"))]).need_care());
        assert!(handles(&[("security.protocol", inline("SSL"))]).need_care());
        let said = handles(&[]).why(Some("what it said".to_owned()));
        assert_eq!(said.as_deref(), Some("what it said"));
    }

    #[test]
    fn a_certificate_is_looked_at_once_and_for_a_while() {
        let handles = handles(&[("security.protocol", inline("SSL"))]);
        let complaint = || Some("ssl://127.0.0.1:1/1: SSL handshake failed: certificate verify failed".to_owned());
        assert_eq!(handles.why(complaint()), complaint());
        let diagnosis = handles.diagnosis.as_ref().expect("TLS");
        assert_eq!(locked(diagnosis).wanted.as_deref(), Some("127.0.0.1:1"));
        // Nobody is there to look at.
        handles.look_at_certificate();
        assert_eq!(handles.why(complaint()), complaint());
        assert_eq!(locked(diagnosis).wanted, None);
        locked(diagnosis).found = Some(("127.0.0.1:1".to_owned(), Instant::now(), Some("expired".to_owned())));
        assert_eq!(handles.why(complaint()).as_deref(), Some("expired"));
    }
}
