//! What is looked at on this host: folders and files. Nothing is written.

use super::{
    expiry::{self, Whose},
    finding::Finding,
};
use crate::{client::MAX_PEM_FILE, files, kafka::MAX_CA_FILE, model::Timestamp};
use rustix::fs::{Access, access, statvfs};
use std::{
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

/// Free bytes of `data_dir` below which the store may not be written for long.
const LEAST_SPACE: u64 = 64 << 20;
/// Free bytes below which it is time to make room.
const LOW_SPACE: u64 = 1 << 30;
/// The permission to read that everybody has.
const WORLD_READABLE: u32 = 0o004;

/// Can the store be kept there?
pub(super) fn data_dir(folder: &Path) -> Vec<Finding> {
    let (about, shown) = ("data_dir", folder.display());
    let Some((there, missing)) = nearest(folder) else {
        return vec![Finding::fail(about, format!("{shown} is nowhere"), "name a folder that can be made")];
    };
    let writable = access(&there, Access::WRITE_OK | Access::EXEC_OK).map_err(io::Error::from);
    let mut findings = vec![match writable {
        Err(error) => Finding::fail(
            about,
            format!("{} cannot be written ({error})", there.display()),
            "give it to the agent's user; without it alerts do not outlive a restart",
        ),
        Ok(()) if !there.is_dir() => {
            Finding::fail(about, format!("{} is no folder", there.display()), "name a folder that can be made")
        }
        Ok(()) if missing => Finding::ok(about, format!("{shown} is not there yet, and can be made")),
        Ok(()) => Finding::ok(about, format!("{shown} can be written")),
    }];
    findings.push(match statvfs(&there) {
        Err(error) => Finding::warn(about, format!("cannot say how much is free ({error})"), "look with df"),
        Ok(found) => space(found.f_bavail.saturating_mul(found.f_frsize)),
    });
    findings
}

fn space(free: u64) -> Finding {
    let found = format!("{} MiB are free", free >> 20);
    if free < LEAST_SPACE {
        Finding::fail("data_dir", found, "make room: the store cannot be written on a full disk")
    } else if free < LOW_SPACE {
        Finding::warn("data_dir", found, "make room before it is full")
    } else {
        Finding::ok("data_dir", found)
    }
}

/// The folder, or the nearest above it that is there; and whether it is another.
fn nearest(folder: &Path) -> Option<(PathBuf, bool)> {
    let there = folder.ancestors().find(|above| above.symlink_metadata().is_ok())?;
    Some((there.to_owned(), there != folder))
}

/// Can rules be found there?
pub(super) fn rules_dir(folder: &Path) -> Finding {
    let (about, shown) = ("rules_dir", folder.display());
    match fs::read_dir(folder) {
        Ok(_) => Finding::ok(about, format!("{shown} can be read")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Finding::warn(about, format!("{shown} is not there"), "make it, unless only rules of agent.yaml are wanted")
        }
        Err(error) => {
            Finding::fail(about, format!("{shown} cannot be read ({error})"), "let the agent's user read it (r and x)")
        }
    }
}

/// Can the agent read a file with a secret, and only those who should?
pub(super) fn secret(about: &str, path: &Path) -> Finding {
    let shown = path.display();
    let readable = access(path, Access::READ_OK).map_err(io::Error::from);
    let mode = readable.and_then(|()| path.metadata()).map(|found| found.permissions().mode());
    match mode {
        Err(error) => {
            Finding::fail(about, format!("{shown} cannot be read ({error})"), "let the agent's user read it (mode 600)")
        }
        Ok(mode) if mode & WORLD_READABLE != 0 => {
            Finding::warn(about, format!("everybody on this host may read {shown}"), format!("chmod o-r {shown}"))
        }
        Ok(_) => Finding::ok(about, format!("{shown} can be read, and not by everybody")),
    }
}

/// Secrets that agent.yaml itself holds.
pub(super) fn inline(file: &Path, keys: &[String]) -> Option<Finding> {
    let (first, shown) = (keys.first()?, file.display());
    let about = shown.to_string();
    let everybody = file.metadata().is_ok_and(|found| found.permissions().mode() & WORLD_READABLE != 0);
    let found = format!("holds secrets ({first}{})", if keys.len() > 1 { ", and others" } else { "" });
    Some(if everybody {
        let found = format!("{found}, and everybody on this host may read it");
        Finding::warn(about, found, format!("chmod o-r {shown}, or keep them in files (KEY_file)"))
    } else {
        Finding::ok(about, format!("{found}, and cannot be read by everybody"))
    })
}

/// Until when are certificates valid?
pub(super) fn certificate(about: &str, path: &Path, whose: Whose, now: Timestamp) -> Finding {
    if path.is_dir() {
        return Finding::warn(
            about,
            format!("{} is a folder, which is not looked into", path.display()),
            "look yourself",
        );
    }
    match files::read_short(path, MAX_PEM_FILE.max(MAX_CA_FILE)) {
        Ok(pem) => expiry::judge(about, path, &pem, whose, now),
        Err(error) => {
            let found = format!("{} cannot be read ({error})", path.display());
            Finding::fail(about, found, "let the agent's user read it")
        }
    }
}

/// Is it the agent's user who looks?
pub(super) fn user() -> Option<Finding> {
    rustix::process::geteuid().is_root().then(|| {
        let remedy = "run it as the agent's user: sudo -u brokerwarden brokerwarden doctor …";
        Finding::warn("user", "root may read and write everything, which says nothing of the agent's user", remedy)
    })
}

#[cfg(test)]
mod tests {
    use super::{super::finding::Level, *};

    fn level(finding: &Finding) -> Level {
        finding.level
    }

    #[test]
    fn folders_are_found_or_can_be_made() {
        let dir = tempfile::tempdir().unwrap();
        for folder in [dir.path().to_owned(), dir.path().join("a/b")] {
            let found = data_dir(&folder);
            assert_eq!((found.len(), level(&found[0])), (2, Level::Ok), "{found:?}");
        }
        assert!(!dir.path().join("a").exists(), "nothing is made");
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o777)).unwrap();
        assert_eq!(level(&data_dir(&file.join("below"))[0]), Level::Fail);
        assert_eq!(level(&rules_dir(dir.path())), Level::Ok);
        assert_eq!(level(&rules_dir(&dir.path().join("none"))), Level::Warn);
        assert_eq!(level(&rules_dir(&file)), Level::Fail);
        let levels = [LEAST_SPACE - 1, LEAST_SPACE, LOW_SPACE].map(|free| space(free).level);
        assert_eq!(levels, [Level::Fail, Level::Warn, Level::Ok]);
    }

    #[test]
    fn a_secret_is_for_the_agent_only() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("secret");
        assert_eq!(level(&secret("k", &file)), Level::Fail);
        fs::write(&file, "hunter2").unwrap();
        for (mode, wanted) in [(0o600, Level::Ok), (0o640, Level::Ok), (0o644, Level::Warn)] {
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
            let found = secret("k", &file);
            assert_eq!(level(&found), wanted, "{mode:o}");
            assert!(!found.to_string().contains("hunter2"));
        }
        let keys = ["kafka.properties.sasl.password".to_owned()];
        assert_eq!(inline(&file, &keys).map(|found| found.level), Some(Level::Warn));
        assert_eq!(inline(&file, &[]), None);
    }

    #[test]
    fn what_holds_no_certificate_is_told() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
        assert_eq!(level(&certificate("k", &file, Whose::Ours, Timestamp(0))), Level::Fail);
        assert_eq!(level(&certificate("k", Path::new("/"), Whose::Authorities, Timestamp(0))), Level::Warn);
        assert_eq!(level(&certificate("k", Path::new("/none"), Whose::Ours, Timestamp(0))), Level::Fail);
    }
}
