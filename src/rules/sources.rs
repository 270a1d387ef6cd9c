//! Where rules come from: agent.yaml and the files of `rules_dir`. Says what is there and whether it changed; loads
//! nothing.

use super::{Config, Module, RuleConfig, limits, load::LoadError};
use crate::model::BoundedText;
use rustix::fs::{Mode, OFlags};
use std::{
    collections::BTreeMap,
    fs::{self, File, Metadata},
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// A rule that should be there.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Desired {
    pub(super) module: Module,
    /// The YAML beside it; only for rules of `rules_dir`.
    pub(super) sidecar: Option<PathBuf>,
    pub(super) listed: RuleConfig,
    /// What people should know, though nothing fails.
    pub(super) note: Option<String>,
}

impl Desired {
    /// The module, for people.
    pub(super) fn module_text(&self) -> String {
        match &self.module {
            Module::Builtin(name) => format!("builtin:{name}"),
            Module::File(path) => BoundedText(&path.to_string_lossy(), limits::MAX_SHOWN_PATH).to_string(),
        }
    }

    /// Does the rule stand or fall with a file of `rules_dir`?
    pub(super) fn of_folder(&self) -> bool {
        self.listed.module.is_none()
    }
}

/// What tells a file from what it was before: where it really is, when it changed, how long it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Print {
    device: u64,
    inode: u64,
    modified: (i64, i64),
    changed: (i64, i64),
    size: u64,
}

/// Prints of a module and of the YAML beside it; `None` where there is no file.
pub(super) type Prints = (Option<Print>, Option<Print>);

impl Print {
    fn new(found: &Metadata) -> Self {
        Self {
            device: found.dev(),
            inode: found.ino(),
            modified: (found.mtime(), found.mtime_nsec()),
            changed: (found.ctime(), found.ctime_nsec()),
            size: found.size(),
        }
    }

    /// Bytes of the file.
    pub(super) fn size(self) -> u64 {
        self.size
    }

    /// Of the file at `path`, symlinks followed.
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        fs::metadata(path).map(|found| Self::new(&found))
    }
}

/// The modules of a folder by rule name, and what is wrong with single files. An error means that nothing is known of
/// the folder: not that it is empty.
pub(super) fn read_folder(folder: &Path) -> io::Result<(BTreeMap<String, PathBuf>, Vec<String>)> {
    let mut modules = BTreeMap::new();
    let (mut complaints, mut further) = (Vec::new(), 0u32);
    let too_many =
        || io::Error::other(format!("more than {} entries or {} rules", limits::MAX_DIR_ENTRIES, limits::MAX_RULES));
    for (number, entry) in fs::read_dir(folder)?.enumerate() {
        let entry = entry?;
        if number >= limits::MAX_DIR_ENTRIES {
            return Err(too_many());
        }
        let file = entry.file_name();
        let file = file.to_string_lossy();
        let Some(name) = file.strip_suffix(".wasm") else { continue };
        if file.starts_with('.') {
            // Where editors and copying programs keep what is not finished.
            continue;
        }
        if !is_rule_name(name) && complaints.len() >= limits::MAX_TOLD_FILES {
            further = further.saturating_add(1);
            continue;
        }
        if !is_rule_name(name) {
            complaints.push(format!(
                "{} is no name for a rule: letters, digits, '.', '_' and '-', at most {} bytes",
                BoundedText(&file, limits::MAX_SHOWN_FILE),
                limits::MAX_RULE_NAME
            ));
            continue;
        }
        match fs::metadata(entry.path()) {
            // A link into nothing is no file.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            _ if modules.len() >= limits::MAX_RULES => return Err(too_many()),
            _ => drop(modules.insert(name.to_owned(), entry.path())),
        }
    }
    if further > 0 {
        complaints.push(format!("and {further} more"));
    }
    Ok((modules, complaints))
}

fn is_rule_name(name: &str) -> bool {
    (1..=limits::MAX_RULE_NAME).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}

/// What should be there. Where both name a rule, agent.yaml's module counts. Entries of agent.yaml without a module add
/// to the rule of that name in the folder.
pub(super) fn desired(config: &Config, folder: &BTreeMap<String, PathBuf>) -> BTreeMap<String, Desired> {
    let mut desired: BTreeMap<String, Desired> = BTreeMap::new();
    for (name, listed) in &config.rules {
        if let Some(module) = &listed.module {
            let note = folder.get(name).map(|path| {
                format!("{} does not count: agent.yaml names another module for this rule", path.display())
            });
            let one = Desired { module: module.clone(), sidecar: None, listed: listed.clone(), note };
            desired.insert(name.clone(), one);
        }
    }
    for (name, path) in folder {
        if desired.contains_key(name) {
            continue;
        }
        let listed = config.rules.iter().find(|(listed, _)| listed == name).map(|(_, listed)| listed.clone());
        desired.insert(
            name.clone(),
            Desired {
                module: Module::File(path.clone()),
                sidecar: Some(path.with_extension("yaml")),
                listed: listed.unwrap_or_default(),
                note: None,
            },
        );
    }
    desired
}

/// The whole of a file, if it is still what `print` says; `None` when it changed meanwhile.
pub(super) fn read_whole(path: &Path, print: &Print, most: u64) -> Result<Option<Vec<u8>>, LoadError> {
    let failed = |source: io::Error| LoadError::Read { path: path.to_owned(), source };
    // Not to be held up by a pipe with a module's name.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let mut file = rustix::fs::open(path, flags, Mode::empty()).map(File::from).map_err(|e| failed(e.into()))?;
    let before = file.metadata().map_err(failed)?;
    if !before.is_file() {
        return Err(failed(io::Error::other("it is no regular file")));
    }
    if before.len() > most {
        return Err(LoadError::TooLarge { path: path.to_owned(), most });
    }
    let mut bytes = Vec::new();
    (&mut file).take(most).read_to_end(&mut bytes).map_err(failed)?;
    let after = file.metadata().map_err(failed)?;
    let same = Print::new(&before) == *print && Print::new(&after) == *print;
    Ok((same && u64::try_from(bytes.len()).ok() == Some(print.size)).then_some(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(rules: Vec<(&str, Option<Module>)>) -> Config {
        let rule =
            |(name, module): (&str, Option<Module>)| (name.to_owned(), RuleConfig { module, ..RuleConfig::default() });
        Config {
            rules_dir: None,
            rules: rules.into_iter().map(rule).collect(),
            parse_sidecar: |_| Ok(super::super::Overlay::default()),
            cache_dir: PathBuf::new(),
            compiler: PathBuf::new(),
        }
    }

    #[test]
    fn agent_yaml_goes_before_the_folder_and_says_so() {
        let folder = BTreeMap::from([("a".into(), "/r/a.wasm".into()), ("b".into(), "/r/b.wasm".into())]);
        let config = config(vec![("a", Some(Module::Builtin("x".into()))), ("b", None), ("c", None)]);
        let desired = desired(&config, &folder);
        assert_eq!(desired.keys().collect::<Vec<_>>(), ["a", "b"]);
        assert!(desired["a"].note.as_ref().unwrap().contains("does not count"));
        assert!(desired["b"].of_folder() && !desired["a"].of_folder());
        assert_eq!(desired["b"].sidecar.as_deref(), Some(Path::new("/r/b.yaml")));
    }

    #[test]
    fn a_folder_gives_its_modules_and_complains_about_names() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["ok.wasm", ".tmp.wasm", "sp ace.wasm", "x.yaml", ".wasm"] {
            fs::write(dir.path().join(name), b"").unwrap();
        }
        std::os::unix::fs::symlink("nowhere", dir.path().join("link.wasm")).unwrap();
        let (modules, complaints) = read_folder(dir.path()).unwrap();
        assert_eq!(modules.keys().collect::<Vec<_>>(), ["ok"]);
        assert_eq!(complaints.len(), 1);
        for number in 0..limits::MAX_TOLD_FILES {
            fs::write(dir.path().join(format!("no name {number}.wasm")), b"").unwrap();
        }
        let complaints = read_folder(dir.path()).unwrap().1;
        assert_eq!(complaints.len(), limits::MAX_TOLD_FILES + 1);
        assert_eq!(complaints.last().unwrap(), "and 1 more");
        assert!(read_folder(&dir.path().join("gone")).is_err());
    }

    #[test]
    fn as_many_rules_as_allowed_may_have_other_files_beside_them() {
        let dir = tempfile::tempdir().unwrap();
        for number in 0..limits::MAX_RULES {
            for end in ["wasm", "yaml"] {
                fs::write(dir.path().join(format!("r{number}.{end}")), b"").unwrap();
            }
        }
        assert_eq!(read_folder(dir.path()).unwrap().0.len(), limits::MAX_RULES);
        fs::write(dir.path().join("more.wasm"), b"").unwrap();
        assert!(read_folder(dir.path()).unwrap_err().to_string().contains("more than"));
    }

    #[test]
    fn a_file_that_changed_since_it_was_looked_at_is_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.wasm");
        fs::write(&path, b"one").unwrap();
        let print = Print::of(&path).unwrap();
        assert_eq!(read_whole(&path, &print, 3).unwrap().as_deref(), Some(&b"one"[..]));
        assert!(matches!(read_whole(&path, &print, 2), Err(LoadError::TooLarge { .. })));
        fs::write(&path, b"longer").unwrap();
        assert_eq!(read_whole(&path, &print, 100).unwrap(), None);
        assert!(matches!(read_whole(dir.path(), &print, 100), Err(LoadError::Read { .. })));
    }
}
