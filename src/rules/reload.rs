//! Looks at `rules_dir` and the configuration again and again, and brings rules in line with them. Whatever is wrong with
//! a new version, the old one goes on.

use super::{
    Config, Module, Overlay,
    builtin::builtin,
    evaluate::Code,
    limits,
    load::{self, LoadError, Loader},
    pool::Shared,
    registry::Version,
    sources::{self, Desired, Print, Prints},
    state::State,
    trial::{Answer, Trials, Tried},
};
use crate::{model::families, pipeline::RuleSettings, snapshot::Snapshot, supervise::Stop};
use std::{
    collections::{BTreeMap, HashMap},
    io,
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, PoisonError},
    time::{Duration, Instant},
};
use tokio::sync::{oneshot, watch};

/// How the rules fare that the configuration lists with a module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listed {
    /// Number of that configuration; 0 is the first one.
    pub number: u64,
    /// Those whose version of this configuration was refused, and why.
    pub refused: Vec<(String, String)>,
    /// Those of which it is not known yet.
    pub pending: Vec<String>,
}

/// What the loader is asked from outside, and what it tells.
#[derive(Default)]
pub(super) struct Requests {
    asked: Mutex<Asked>,
    bell: Condvar,
    pub(super) listed: watch::Sender<Listed>,
}

#[derive(Default)]
struct Asked {
    config: Option<Config>,
    /// How many configurations were asked for.
    configs: u64,
    /// Rules that should forget, and where to say whether they did.
    forget: Vec<(String, oneshot::Sender<bool>)>,
}

impl Requests {
    /// Returns the number of the configuration.
    pub(super) fn reconfigure(&self, config: Config) -> u64 {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.config = Some(config);
        asked.configs = asked.configs.saturating_add(1);
        self.bell.notify_all();
        asked.configs
    }

    /// A rule should forget; the answer comes when it did, or is dropped where too many are asked for.
    pub(super) fn forget(&self, rule: String) -> oneshot::Receiver<bool> {
        let (done, answer) = oneshot::channel();
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if asked.forget.len() < limits::MAX_FORGETTING {
            asked.forget.push((rule, done));
        }
        self.bell.notify_all();
        answer
    }

    /// What was asked within `limit`.
    fn wait(&self, limit: Duration) -> Asked {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let idle = |asked: &mut Asked| asked.config.is_none() && asked.forget.is_empty();
        let waited = self.bell.wait_timeout_while(asked, limit, idle);
        let mut asked = waited.unwrap_or_else(PoisonError::into_inner).0;
        let configs = asked.configs;
        Asked { configs, ..std::mem::replace(&mut *asked, Asked { configs, ..Asked::default() }) }
    }
}

/// How a rule's files looked, and what was made of them.
#[derive(Default)]
struct Seen {
    prints: Option<Prints>,
    /// Looks in a row at which they were the same.
    looks: u32,
    /// What was last tried to load, loaded or not.
    tried: Option<(Prints, Desired)>,
    retry_at: Option<Instant>,
    /// Why what is there now was refused.
    refused: Option<String>,
    /// A version that is being tried, and of what it was made.
    trial: Option<(Prints, Desired, Answer)>,
    /// Good looks in a row at a folder that does not have it any more.
    gone: u32,
    of_folder: bool,
}

/// How far a version came.
enum Prepared {
    /// It may go live.
    Ready(Version),
    /// Its files changed while they were read.
    Changed,
    /// Its code is not made, or its trial has not ended yet.
    NotYet,
}

/// Keeps the rules in line with files and configuration.
pub(super) struct Reload {
    shared: Arc<Shared>,
    loader: Loader,
    trials: Trials,
    config: Config,
    snapshots: watch::Receiver<Arc<Snapshot>>,
    stop: Stop,
    seen: HashMap<String, Seen>,
    generation: u64,
    folder_error: Option<String>,
    /// Rules that agent.yaml adds to, and of which there is no module.
    missing: Vec<String>,
    /// Good looks at the folder since our start, up to the one that counts.
    good_looks: u32,
}

impl Reload {
    pub(super) fn new(
        shared: Arc<Shared>,
        loader: Loader,
        trials: Trials,
        config: Config,
        snapshots: watch::Receiver<Arc<Snapshot>>,
        stop: Stop,
    ) -> Self {
        let seen = HashMap::new();
        Self {
            shared,
            loader,
            trials,
            config,
            snapshots,
            stop,
            seen,
            generation: 0,
            folder_error: None,
            missing: vec![],
            good_looks: 0,
        }
    }

    /// Looks until told to stop.
    pub(super) fn run(mut self, requests: &Requests) {
        let mut number = 0;
        while !self.stop.stopped() {
            self.look(Instant::now());
            requests.listed.send_replace(Listed { number, ..self.listed() });
            let asked = requests.wait(limits::SCAN_INTERVAL);
            if let Some(config) = asked.config {
                number = asked.configs;
                self.reconfigure(config);
                self.try_again();
            }
            for (rule, done) in asked.forget {
                let forgot = self.shared.forget_state(&rule, &self.stop);
                if forgot {
                    tracing::info!(rule, "rule forgot what it remembered, as it was asked to");
                    // A version may have been refused for what was remembered.
                    self.try_again();
                }
                done.send(forgot).ok(); // whoever asked may have gone
            }
        }
    }

    /// What failed is tried again at the next look.
    pub(super) fn try_again(&mut self) {
        let registry = self.shared.registry();
        for (name, seen) in &mut self.seen {
            if registry.rules.get(name).is_none_or(|entry| entry.load_error.is_some()) {
                seen.tried = None;
                seen.refused = None;
            }
        }
    }

    /// Counts from the next look.
    pub(super) fn reconfigure(&mut self, config: Config) {
        self.config = config;
    }

    /// How the rules of agent.yaml fare that have a module there. Its number is for the caller to say.
    pub(super) fn listed(&self) -> Listed {
        let mut listed = Listed::default();
        for (name, rule) in self.config.rules.iter().filter(|(_, rule)| rule.module.is_some()) {
            let seen = self.seen.get(name);
            let is_tried = |seen: &Seen| {
                seen.tried.as_ref().is_some_and(|(of, tried)| Some(*of) == seen.prints && tried.listed == *rule)
            };
            if let Some(why) = seen.and_then(|seen| seen.refused.as_ref()) {
                listed.refused.push((name.clone(), why.clone()));
            } else if !seen.is_some_and(is_tried) {
                listed.pending.push(name.clone());
            }
        }
        listed
    }

    /// One look at everything.
    pub(super) fn look(&mut self, now: Instant) {
        let folder = self.read_folder();
        let modules = folder.clone().unwrap_or_default();
        let desired = sources::desired(&self.config, &modules);
        let mut changed: Vec<(u64, String, Prints)> = Vec::new();
        for (name, one) in &desired {
            match self.glance(name, one, now) {
                Ok(Some(prints)) => changed.push((prints.0.map_or(0, Print::size), name.clone(), prints)),
                Ok(None) => {}
                Err(error) => self.cannot_read(name, one, &error),
            }
        }
        // Small ones first: a big one can take a minute to compile.
        changed.sort();
        for (_, name, prints) in changed {
            if self.stop.stopped() {
                return;
            }
            if let Some(one) = desired.get(&name) {
                self.load(&name, one, prints, now);
                self.shared.publish();
            }
        }
        self.loader.give_up_unwanted();
        if folder.is_some() {
            self.complain_of_missing(&desired);
        }
        self.remove_gone(&desired, folder.is_some());
        // As for a file that is gone: the folder must have been read well twice without it.
        if folder.is_some() && self.good_looks < 2 {
            self.good_looks = self.good_looks.saturating_add(1);
            if self.good_looks == 2 {
                self.shared.tell_known(desired.keys().cloned().collect());
            }
        }
        self.shared.publish();
    }

    /// The folder's modules; `None` while it cannot be read.
    fn read_folder(&mut self) -> Option<BTreeMap<String, PathBuf>> {
        let Some(folder) = &self.config.rules_dir else {
            self.shared.registry().rules_dir_error = None;
            return Some(BTreeMap::new());
        };
        let (modules, error) = match sources::read_folder(folder) {
            Ok((modules, complaints)) => (Some(modules), (!complaints.is_empty()).then(|| complaints.join("; "))),
            Err(error) => (None, Some(format!("cannot read {}: {error}", folder.display()))),
        };
        let readable = if modules.is_some() { 1.0 } else { 0.0 };
        self.shared.metrics.set(&families::RULES_DIR_READABLE, &[], readable);
        if error != self.folder_error {
            if let Some(error) = &error {
                tracing::warn!(error, "rules_dir; what is live goes on");
            } else {
                tracing::info!(folder = %folder.display(), "rules_dir is fine again");
            }
        }
        self.shared.registry().rules_dir_error.clone_from(&error);
        self.folder_error = error;
        modules
    }

    /// Looks at a rule's files; their prints if they should be loaded now.
    fn glance(&mut self, name: &str, one: &Desired, now: Instant) -> Result<Option<Prints>, LoadError> {
        let seen = self.seen.entry(name.to_owned()).or_default();
        seen.gone = 0;
        seen.of_folder = one.of_folder();
        let prints = prints(one).inspect_err(|_| {
            seen.prints = None;
            seen.tried = None;
            seen.trial = None;
        })?;
        seen.looks = if seen.prints == Some(prints) { seen.looks.saturating_add(1) } else { 1 };
        seen.prints = Some(prints);
        let tried = seen.tried.as_ref().is_some_and(|(before, desired)| *before == prints && desired == one);
        if !tried {
            seen.refused = None;
        }
        if seen.looks < 2 && prints.0.is_some() {
            // It may be half of a copy.
            return Ok(None);
        }
        let again = seen.retry_at.is_some_and(|at| now >= at);
        Ok((!tried || again).then_some(prints))
    }

    fn load(&mut self, name: &str, one: &Desired, prints: Prints, now: Instant) {
        self.generation = self.generation.saturating_add(1);
        let generation = self.generation;
        let loaded = self.prepare(name, one, prints, generation);
        let Some(seen) = self.seen.get_mut(name) else { return };
        seen.retry_at = None;
        match loaded {
            // It changed while it was read; it is looked at again.
            Ok(Prepared::Changed) => seen.looks = 0,
            // The next look asks again, also where this was a second try.
            Ok(Prepared::NotYet) => seen.tried = None,
            Err(LoadError::Compile(super::compile::CompileError::Stopped)) => {}
            Ok(Prepared::Ready(version)) => {
                seen.tried = Some((prints, one.clone()));
                seen.refused = None;
                let (module, sha256, generation) =
                    (version.module.clone(), version.code.sha256.clone(), version.generation);
                let snapshot = Arc::clone(&self.snapshots.borrow());
                let trials = &self.trials;
                let take_over = |version: &Version, before: &State| trials.take_over(version, before, &snapshot);
                match self.shared.install(version, &self.stop, take_over) {
                    Ok(false) => {}
                    Err(error) => {
                        seen.refused = Some(error.to_string());
                        if error.is_passing() {
                            seen.retry_at = now.checked_add(limits::LOAD_RETRY);
                        }
                        self.refuse(name, one, &error);
                    }
                    Ok(true) => {
                        self.shared.metrics.count(&families::RULE_RELOADS, &["loaded", name]);
                        tracing::info!(rule = name, module, sha256, generation, "rule is live");
                        if let Some(entry) = self.shared.registry().rules.get_mut(name) {
                            entry.load_error.clone_from(&one.note);
                        }
                    }
                }
            }
            Err(error) => {
                seen.tried = Some((prints, one.clone()));
                seen.refused = Some(error.to_string());
                if error.is_passing() {
                    seen.retry_at = now.checked_add(limits::LOAD_RETRY);
                }
                self.refuse(name, one, &error);
            }
        }
    }

    /// A version that may go live, if it is that far.
    fn prepare(&mut self, name: &str, one: &Desired, prints: Prints, generation: u64) -> Result<Prepared, LoadError> {
        if let Some(prepared) = self.tried(name, one, prints) {
            return prepared;
        }
        let mut beside = Overlay::default();
        if let (Some(path), Some(print)) = (&one.sidecar, prints.1) {
            let Some(bytes) = sources::read_whole(path, &print, limits::MAX_SIDECAR_BYTES)? else {
                return Ok(Prepared::Changed);
            };
            let wrong = |text: String| LoadError::Sidecar { path: path.clone(), text };
            let text = String::from_utf8(bytes).map_err(|error| wrong(error.to_string()))?;
            beside = (self.config.parse_sidecar)(&text).map_err(wrong)?;
        }
        let code: Option<Arc<Code>> = match (&one.module, prints.0) {
            (Module::File(path), Some(print)) => {
                let Some(bytes) = sources::read_whole(path, &print, limits::MAX_MODULE_BYTES)? else {
                    return Ok(Prepared::Changed);
                };
                pinned(one, &bytes)?;
                self.loader.code(&self.config.compiler, &bytes)?
            }
            (Module::File(_), None) => return Ok(Prepared::Changed),
            (Module::Builtin(builtin_name), _) => {
                let bytes = builtin(builtin_name).ok_or_else(|| LoadError::NoBuiltin(builtin_name.clone()))?;
                pinned(one, bytes)?;
                self.loader.code(&self.config.compiler, bytes)?
            }
        };
        let Some(code) = code else { return Ok(Prepared::NotYet) };
        let config = one.listed.overlay.config.clone().or_else(|| beside.config.clone());
        let version = Version {
            code,
            settings: Arc::new(one.listed.settings(name, &beside)),
            config: config.as_deref().unwrap_or("{}").into(),
            limits: one.listed.limits.clone(),
            module: one.module_text(),
            writes_as: 0,
            generation,
        };
        let snapshot = Arc::clone(&self.snapshots.borrow());
        let memory = self.shared.registry().memory_of(name);
        match self.trials.begin(version, memory, &snapshot) {
            Tried::Done(result) => result.map(Prepared::Ready),
            Tried::Begun(answer) => {
                if let Some(seen) = self.seen.get_mut(name) {
                    seen.trial = Some((prints, one.clone(), answer));
                }
                Ok(Prepared::NotYet)
            }
            Tried::Later => Ok(Prepared::NotYet),
        }
    }

    /// What came of a trial that was begun earlier; `None`: there is none, or it was of something else.
    fn tried(&mut self, name: &str, one: &Desired, prints: Prints) -> Option<Result<Prepared, LoadError>> {
        let seen = self.seen.get_mut(name)?;
        let (of, desired, mut answer) = seen.trial.take()?;
        if of != prints || desired != *one {
            return None;
        }
        match answer.try_recv() {
            Ok(result) => Some(result.map(Prepared::Ready)),
            Err(oneshot::error::TryRecvError::Empty) => {
                seen.trial = Some((of, desired, answer));
                Some(Ok(Prepared::NotYet))
            }
            Err(oneshot::error::TryRecvError::Closed) => None,
        }
    }

    /// A version was tried, and is not taken.
    fn refuse(&self, name: &str, one: &Desired, error: &LoadError) {
        self.shared.metrics.count(&families::RULE_RELOADS, &["refused", name]);
        self.note_refusal(name, one, error);
    }

    /// The files of a rule cannot be looked at, which counts once for each reason.
    fn cannot_read(&mut self, name: &str, one: &Desired, error: &LoadError) {
        if let Some(seen) = self.seen.get_mut(name) {
            seen.refused = Some(error.to_string());
        }
        if self.note_refusal(name, one, error) {
            self.shared.metrics.count(&families::RULE_RELOADS, &["refused", name]);
        }
    }

    /// Notes why a rule was not loaded; one line in the log for each new reason. Is it new?
    fn note_refusal(&self, name: &str, one: &Desired, error: &LoadError) -> bool {
        let settings: Arc<RuleSettings> = Arc::new(one.listed.settings(name, &Overlay::default()));
        let module = one.module_text();
        let mut registry = self.shared.registry();
        let new = registry.refuse(&settings, &module, error.to_string());
        let live = registry.rules.get(name).is_some_and(|entry| entry.live.is_some());
        drop(registry);
        if new && live {
            tracing::warn!(rule = name, module, %error, "rule was not loaded; its live version goes on");
        } else if new {
            tracing::warn!(rule = name, module, %error, "rule was not loaded");
        }
        new
    }

    /// Says once of each entry of agent.yaml without a module that `rules_dir` has none for it either.
    fn complain_of_missing(&mut self, desired: &BTreeMap<String, Desired>) {
        let names = self.config.rules.iter().map(|(name, _)| name);
        let missing: Vec<_> = names.filter(|name| !desired.contains_key(*name)).cloned().collect();
        for name in missing.iter().filter(|name| !self.missing.contains(name)) {
            tracing::warn!(rule = name, "agent.yaml names no module for this rule, and rules_dir has none");
        }
        self.missing = missing;
    }

    /// Removes rules that the configuration dropped, at once, and rules whose file is gone, once the folder was read
    /// well twice without it.
    fn remove_gone(&mut self, desired: &BTreeMap<String, Desired>, folder_read: bool) {
        let mut gone = Vec::new();
        for (name, seen) in &mut self.seen {
            if desired.contains_key(name) || (seen.of_folder && !folder_read) {
                continue;
            }
            seen.gone = seen.gone.saturating_add(1);
            if !seen.of_folder || seen.gone >= 2 {
                gone.push(name.clone());
            }
        }
        for name in gone {
            self.generation = self.generation.saturating_add(1);
            self.seen.remove(&name);
            self.shared.remove(&name, self.generation, &self.stop);
            self.shared.metrics.count(&families::RULE_RELOADS, &["removed", &name]);
            tracing::info!(rule = name, "rule is gone");
        }
    }
}

/// Is it the file that agent.yaml wants, if that says?
fn pinned(one: &Desired, bytes: &[u8]) -> Result<(), LoadError> {
    let Some(wanted) = &one.listed.sha256 else { return Ok(()) };
    let found = load::sha256(bytes);
    if found == *wanted { Ok(()) } else { Err(LoadError::Pinned { found, wanted: wanted.clone() }) }
}

/// How the files of a rule look now.
fn prints(one: &Desired) -> Result<Prints, LoadError> {
    let Module::File(path) = &one.module else { return Ok((None, None)) };
    let failed = |path: &Path, source| LoadError::Read { path: path.to_owned(), source };
    let module = Print::of(path).map_err(|error| failed(path, error))?;
    let Some(sidecar) = &one.sidecar else { return Ok((Some(module), None)) };
    match Print::of(sidecar) {
        Ok(print) => Ok((Some(module), Some(print))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok((Some(module), None)),
        Err(error) => Err(failed(sidecar, error)),
    }
}
