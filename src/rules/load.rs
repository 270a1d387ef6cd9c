//! From a module's bytes to code: hash, compiled code (kept or made), world. Knows no folder and no schedule.

use super::{
    cache::Cache,
    compile::{CompileError, Compiling},
    engine::Ticking,
    evaluate::Code,
    host::Host,
    limits,
};
use crate::{model::hex, supervise::Stop};
use sha2::{Digest, Sha256};
use std::{
    collections::HashMap,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Weak},
    time::Duration,
};
use wasmtime::component::Linker;

/// Why a rule did not go live.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(super) enum LoadError {
    /// A file could not be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// How it failed.
        source: io::Error,
    },
    /// A file is over its cap.
    #[error("{path} is over {most} bytes")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The cap.
        most: u64,
    },
    /// No builtin rule has this name.
    #[error("there is no builtin rule {0:?}")]
    NoBuiltin(String),
    /// The YAML beside the module is wrong.
    #[error("{path}: {text}")]
    Sidecar {
        /// The YAML file.
        path: PathBuf,
        /// What is wrong.
        text: String,
    },
    /// The module did not compile, or is no rule.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// All rules together would have too much code.
    #[error(
        "its machine code, {0} bytes, has no place beside that of the other rules: {most} bytes in all",
        most = limits::MAX_LIVE_CODE
    )]
    NoPlace(u64),
    /// The rule refuses its configuration.
    #[error("config: {0}")]
    Config(String),
    /// The rule cannot take over what an earlier version of it remembers.
    #[error("state: {0}")]
    State(String),
    /// agent.yaml names another file.
    #[error("its sha256 is {found}; agent.yaml pins {wanted}")]
    Pinned {
        /// Of the file.
        found: String,
        /// In agent.yaml.
        wanted: String,
    },
    /// The rule failed in its dry run.
    #[error("dry run on the present snapshot failed ({reason}): {text}")]
    DryRun {
        /// As in the metric.
        reason: &'static str,
        /// For people.
        text: String,
    },
}

impl LoadError {
    /// May the same file load later, without anybody changing it?
    pub(super) fn is_passing(&self) -> bool {
        matches!(
            self,
            Self::Read { .. }
                | Self::Compile(CompileError::Machine { .. } | CompileError::Killed(_))
                | Self::DryRun { .. }
                | Self::State(_)
                | Self::NoPlace(_)
        )
    }
}

/// Begins to make code of a module's bytes: [`super::compile::in_child`], or without a child in tests.
pub(super) type Compile = fn(&Path, &[u8]) -> Compiling;

/// A module that is being compiled.
struct Begun {
    compiling: Compiling,
    /// Somebody still wants it.
    wanted: bool,
}

/// Loads modules, each once.
pub(super) struct Loader {
    linker: Linker<Host>,
    ticking: Arc<Ticking>,
    cache: Cache,
    compile: Compile,
    stop: Stop,
    /// With the bytes of its machine code.
    loaded: HashMap<String, (Weak<Code>, u64)>,
    /// By the hash of the module.
    begun: HashMap<String, Begun>,
}

impl Loader {
    pub(super) fn new(linker: Linker<Host>, ticking: Arc<Ticking>, cache: Cache, compile: Compile, stop: Stop) -> Self {
        Self { linker, ticking, cache, compile, stop, loaded: HashMap::new(), begun: HashMap::new() }
    }

    /// The code of a module. The same bytes give the same code, compiled once. `None` = it is being compiled, or waits
    /// for its turn: ask again. It is given up where nobody asks between two calls of [`Self::give_up_unwanted`].
    pub(super) fn code(&mut self, compiler: &Path, bytes: &[u8]) -> Result<Option<Arc<Code>>, LoadError> {
        let sha256 = sha256(bytes);
        self.loaded.retain(|_, (code, _)| code.strong_count() > 0);
        if let Some(code) = self.loaded.get(&sha256).and_then(|(code, _)| code.upgrade()) {
            return Ok(Some(code));
        }
        let kept = match self.cache.get(&sha256) {
            Some(code) => {
                let size = self.place_for(&code)?;
                match Code::load(&self.linker, &self.ticking, &code, &sha256) {
                    Ok(code) => Some((code, size)),
                    Err(error) => {
                        tracing::warn!(%error, sha256, "a kept compiled rule is of no use; compiling it again");
                        None
                    }
                }
            }
            None => None,
        };
        let (code, size) = if let Some(kept) = kept {
            kept
        } else {
            let Some(machine_code) = self.compiled(compiler, bytes, &sha256)? else { return Ok(None) };
            let size = self.place_for(&machine_code)?;
            let code = Code::load(&self.linker, &self.ticking, &machine_code, &sha256).map_err(CompileError::from)?;
            self.cache.put(&sha256, &machine_code);
            (code, size)
        };
        let code = Arc::new(code);
        self.loaded.insert(sha256, (Arc::downgrade(&code), size));
        Ok(Some(code))
    }

    /// How large it is, if there is a place for it beside what is loaded.
    fn place_for(&self, machine_code: &[u8]) -> Result<u64, LoadError> {
        let size = u64::try_from(machine_code.len()).unwrap_or(u64::MAX);
        let taken = self.loaded.values().map(|(_, size)| *size).fold(0, u64::saturating_add);
        if taken.saturating_add(size) > limits::MAX_LIVE_CODE { Err(LoadError::NoPlace(size)) } else { Ok(size) }
    }

    /// Machine code, once it is there. A module that takes long to compile holds up nobody but itself.
    fn compiled(&mut self, compiler: &Path, bytes: &[u8], sha256: &str) -> Result<Option<Vec<u8>>, CompileError> {
        let (compiling, patience) = match self.begun.remove(sha256) {
            Some(begun) => (begun.compiling, Duration::ZERO),
            None if self.begun.len() >= limits::MAX_COMPILING => return Ok(None),
            None => ((self.compile)(compiler, bytes), limits::COMPILE_PATIENCE),
        };
        match compiling.wait(patience, &self.stop) {
            Ok(result) => result.map(Some),
            Err(compiling) => {
                self.begun.insert(sha256.to_owned(), Begun { compiling, wanted: true });
                Ok(None)
            }
        }
    }

    /// Ends the compilation of what nobody asked for since the last call: its file was changed or removed.
    pub(super) fn give_up_unwanted(&mut self) {
        self.begun.retain(|_, begun| std::mem::take(&mut begun.wanted));
    }
}

/// SHA-256 in hex.
pub(super) fn sha256(bytes: &[u8]) -> String {
    hex::of(&Sha256::digest(bytes))
}
