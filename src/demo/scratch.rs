//! A folder for the demo's data, private to the user and gone afterwards.
//! Does not know what is put into it.

use super::DemoError;
use std::{
    fs::{DirBuilder, remove_dir_all},
    io::ErrorKind,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

/// Where it is made.
const PARENT: &str = "/tmp";

/// The folder for rules in it.
pub(super) const RULES: &str = "rules";

/// Names tried before giving up; others may have left theirs behind.
const MAX_TRIES: u32 = 100;

/// A new folder that is removed, with all in it, when this is dropped.
#[derive(Debug)]
pub struct ScratchDir(PathBuf);

impl ScratchDir {
    /// Makes one in /tmp, mode 0700, with an empty folder `rules` in it.
    ///
    /// # Errors
    /// When /tmp cannot be written to.
    pub fn new() -> Result<Self, DemoError> {
        Self::in_folder(Path::new(PARENT))
    }

    fn in_folder(parent: &Path) -> Result<Self, DemoError> {
        let mut last = None;
        for attempt in 0..MAX_TRIES {
            let path = parent.join(format!("brokerwarden-demo-{}-{attempt}", std::process::id()));
            // Creating, not opening: what somebody else put there under this name is not used.
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => {
                    let scratch = Self(path);
                    return match DirBuilder::new().create(scratch.path().join(RULES)) {
                        Ok(()) => Ok(scratch),
                        Err(source) => Err(DemoError::Scratch { parent: parent.into(), source }),
                    };
                }
                Err(error) if error.kind() == ErrorKind::AlreadyExists => last = Some(error),
                Err(source) => return Err(DemoError::Scratch { parent: parent.into(), source }),
            }
        }
        let source = last.unwrap_or_else(|| ErrorKind::AlreadyExists.into());
        Err(DemoError::Scratch { parent: parent.into(), source })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for ScratchDir {
    fn drop(&mut self) {
        if let Err(error) = remove_dir_all(&self.0) {
            tracing::warn!(path = %self.0.display(), %error, "cannot remove the demo's folder");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn it_is_private_new_and_gone_afterwards() {
        let parent = tempfile::tempdir().unwrap();
        let one = ScratchDir::in_folder(parent.path()).unwrap();
        let two = ScratchDir::in_folder(parent.path()).unwrap();
        assert_ne!(one.path(), two.path());
        assert_eq!(one.path().metadata().unwrap().permissions().mode() & 0o777, 0o700);
        assert!(one.path().join("rules").is_dir());
        std::fs::write(one.path().join("x"), "x").unwrap();
        drop((one, two));
        assert_eq!(parent.path().read_dir().unwrap().count(), 0);
        let error = ScratchDir::in_folder(&parent.path().join("absent")).unwrap_err();
        assert!(error.to_string().starts_with("cannot make a folder for the demo's data in /"));
    }
}
