//! Loads rules for commands that run without an agent, and keeps their compiled code in the user's cache folder.

use crate::rules::{Loaded, Module, Offline, builtin, limits};
use std::{
    collections::HashMap,
    ffi::OsString,
    path::{Path, PathBuf},
};

/// Why there is no rule.
pub(super) enum NoRule {
    /// It cannot be read.
    Unreadable(String),
    /// It is no rule, or rules cannot be had here.
    Refused(String),
}

/// Rules by the module they are of, each loaded once.
pub(super) struct Rules {
    pub(super) host: Offline,
    loaded: HashMap<PathBuf, Loaded>,
}

impl Rules {
    pub(super) fn new() -> Result<Self, String> {
        let host =
            Offline::new(folder().as_deref(), PathBuf::from("/proc/self/exe")).map_err(|error| error.to_string())?;
        Ok(Self { host, loaded: HashMap::new() })
    }

    /// The code of a module, and the name that the rule has by it.
    pub(super) fn load(&mut self, module: &Module) -> Result<(Loaded, String), NoRule> {
        let (key, name) = match module {
            Module::Builtin(name) => (PathBuf::from(format!("builtin:{name}")), name.clone()),
            Module::File(path) => (path.clone(), name_of(path)),
        };
        if let Some(loaded) = self.loaded.get(&key) {
            return Ok((loaded.clone(), name));
        }
        let bytes = match module {
            Module::Builtin(name) => builtin::builtin(name)
                .map(<[u8]>::to_vec)
                .ok_or_else(|| NoRule::Unreadable(format!("there is no builtin rule {name:?}")))?,
            Module::File(path) => crate::files::read_short(path, limits::MAX_MODULE_BYTES)
                .map_err(|error| NoRule::Unreadable(format!("cannot read {}: {error}", path.display())))?,
        };
        let refused = |error| NoRule::Refused(format!("{}: {error}", key.display()));
        let loaded = self.host.load(&bytes).map_err(refused)?;
        self.loaded.insert(key.clone(), loaded.clone());
        Ok((loaded, name))
    }
}

/// `builtin:NAME` or a file.
pub(super) fn module(text: &str) -> Module {
    text.strip_prefix("builtin:")
        .map_or_else(|| Module::File(PathBuf::from(text)), |name| Module::Builtin(name.to_owned()))
}

/// What a file of `rules_dir` would make its rule's name.
fn name_of(path: &Path) -> String {
    path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default()
}

/// Where users' programs keep what can be made again.
fn folder() -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value: &OsString| !value.is_empty()).map(PathBuf::from);
    let cache = set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")))?;
    Some(cache.join("brokerwarden/compiled"))
}
