//! What a web configuration file says, in effect; taken up anew when it or a file that it names changes.

use super::{
    auth::Users,
    tls::{self, TlsError},
    web_config::{ReadWebConfig, WebConfig},
};
use crate::{
    events::SelfMetrics,
    files::{self, Changes, Contents},
    model::{families, with_causes},
    supervise::{Stop, Tasks},
};
use hyper::{
    Response,
    header::{HeaderName, HeaderValue},
};
use rustls::{ServerConfig, crypto::GetRandomFailed};
use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::sync::watch;

/// Largest web configuration file, in bytes.
pub const MAX_WEB_CONFIG_FILE: u64 = 1 << 20;

/// How often a web configuration file and those that it names are looked at. A change counts when two looks in a row saw it.
pub const WEB_LOOK_INTERVAL: Duration = Duration::from_secs(2);

/// Why a web configuration file cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SecurityError {
    /// What it says; names the file.
    #[error("{0}")]
    File(String),
    /// What it says about TLS.
    #[error("{}", .0.display())]
    Tls(PathBuf, #[source] TlsError),
    /// The system's random numbers.
    #[error("no random numbers from the system")]
    Random,
}

/// Everything that holds for connections and requests.
pub(super) struct Security {
    /// `None` = plain HTTP.
    pub(super) tls: Option<Arc<ServerConfig>>,
    pub(super) users: Users,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Security {
    /// Reads the files that `config` names; `file` is its own.
    pub(super) fn new(config: &WebConfig, file: &Path) -> Result<Self, SecurityError> {
        let tls = config.tls.as_ref().map(tls::server_config).transpose();
        Ok(Self {
            tls: tls.map_err(|error| SecurityError::Tls(file.to_owned(), error))?,
            users: Users::new(config).map_err(|GetRandomFailed| SecurityError::Random)?,
            headers: config.headers.clone(),
        })
    }

    /// Adds the headers that every answer is to have, where it has none of its own.
    pub(super) fn adorn<B>(&self, response: &mut Response<B>) {
        for (name, value) in &self.headers {
            response.headers_mut().entry(name).or_insert_with(|| value.clone());
        }
    }
}

/// What there is, and who looks for more.
pub struct Guard {
    pub(super) current: watch::Receiver<Arc<Security>>,
    keeper: Option<Keeper>,
}

impl Guard {
    /// Reads the web configuration file; none = plain HTTP without log-in.
    ///
    /// # Errors
    /// What is wrong with it, or with a file that it names.
    pub fn new(file: Option<(&Path, ReadWebConfig)>) -> Result<Self, SecurityError> {
        let Some((file, read)) = file else {
            let (_, current) = watch::channel(Arc::new(Security::new(&WebConfig::default(), Path::new(""))?));
            return Ok(Self { current, keeper: None });
        };
        let loaded = load(file, read)?;
        let (sender, current) = watch::channel(Arc::new(loaded.security));
        let changes = Changes::new(loaded.contents);
        let keeper = Keeper { file: file.to_owned(), read, files: loaded.files, changes, sender };
        Ok(Self { current, keeper: Some(keeper) })
    }

    /// Goes on looking at the files. Says whether there are any.
    ///
    /// # Errors
    /// When the system refuses a thread.
    pub(super) fn watch(&mut self, tasks: &Tasks, metrics: &Arc<SelfMetrics>) -> io::Result<bool> {
        let Some(keeper) = self.keeper.take() else {
            metrics.forget(&families::WEB_CONFIG_RELOAD_SUCCESSFUL, |_| true);
            return Ok(false);
        };
        metrics.set(&families::WEB_CONFIG_RELOAD_SUCCESSFUL, &[], 1.0);
        told(&keeper.file, &self.current.borrow());
        let metrics = Arc::clone(metrics);
        tasks.thread("http-files", move |stop| keeper.run(&stop, &metrics))?;
        Ok(true)
    }
}

fn told(file: &Path, security: &Security) {
    let (tls, users, file) = (security.tls.is_some(), security.users.count(), file.display());
    if users > 0 && !tls {
        tracing::warn!(%file, users, "passwords come in unencrypted: there is no tls_server_config");
    } else {
        tracing::info!(%file, tls, users, "the web configuration is in effect");
    }
}

struct Loaded {
    security: Security,
    files: Vec<(PathBuf, u64)>,
    contents: Contents,
}

/// Contents are looked at first: what changes after that is seen as a change.
fn load(file: &Path, read: ReadWebConfig) -> Result<Loaded, SecurityError> {
    let mut files = vec![(file.to_owned(), MAX_WEB_CONFIG_FILE)];
    let mut contents = files::contents(&files);
    let config = read(file).map_err(SecurityError::File)?;
    let named: Vec<_> =
        config.tls.iter().flat_map(tls::files_of).map(|path| (path, tls::MAX_SERVER_PEM_FILE)).collect();
    contents.extend(files::contents(&named));
    files.extend(named);
    Ok(Loaded { security: Security::new(&config, file)?, files, contents })
}

/// Looks at the files.
struct Keeper {
    file: PathBuf,
    read: ReadWebConfig,
    files: Vec<(PathBuf, u64)>,
    changes: Changes,
    sender: watch::Sender<Arc<Security>>,
}

impl Keeper {
    fn run(mut self, stop: &Stop, metrics: &SelfMetrics) {
        while !stop.sleep(WEB_LOOK_INTERVAL) {
            self.look(metrics);
        }
    }

    fn look(&mut self, metrics: &SelfMetrics) {
        let file = self.file.display();
        if !self.changes.see(files::contents(&self.files)) {
            if self.changes.back() {
                tracing::info!(%file, "the web configuration is back as it was");
                metrics.set(&families::WEB_CONFIG_RELOAD_SUCCESSFUL, &[], 1.0);
            }
            return;
        }
        match load(&self.file, self.read) {
            Ok(loaded) => {
                told(&self.file, &loaded.security);
                self.files = loaded.files;
                self.changes = Changes::new(loaded.contents);
                self.sender.send_replace(Arc::new(loaded.security));
                metrics.set(&families::WEB_CONFIG_RELOAD_SUCCESSFUL, &[], 1.0);
            }
            Err(error) => {
                if self.changes.refused() {
                    let error = with_causes(&error);
                    tracing::error!(%file, error, "the web configuration changed and cannot be used; the old one goes on");
                }
                metrics.set(&families::WEB_CONFIG_RELOAD_SUCCESSFUL, &[], 0.0);
            }
        }
    }
}

#[cfg(test)]
mod tests;
