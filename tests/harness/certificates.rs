//! A certificate authority for tests, by the program `openssl`. Keys and certificates are files in PEM.

use super::process::run;
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Who issues certificates, and its folder.
pub(crate) struct Authority {
    dir: PathBuf,
}

impl Authority {
    /// In that folder, which may come into being.
    pub(crate) fn new(dir: &Path) -> Self {
        fs::create_dir_all(dir).unwrap();
        let authority = Self { dir: dir.to_owned() };
        authority.key("ca");
        authority.openssl(&[
            "req -x509 -new -key ca.key -out ca.pem -days 30",
            "-addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign",
            "-subj /CN=brokerwarden-test-ca",
        ]);
        authority
    }

    /// A file of its.
    pub(crate) fn file(&self, name: &str) -> String {
        self.dir.join(name).display().to_string()
    }

    /// Issues a certificate that ends in so many days (below 0: that has ended): `NAME.pem`, with the key `NAME.key`; both
    /// together, as Kafka wants them, are `NAME-both.pem`. `names` as openssl writes them: `IP:127.0.0.1,DNS:localhost`.
    pub(crate) fn issue(&self, name: &str, names: &str, days: i32) {
        self.key(name);
        let extensions = format!("subjectAltName={names}\nbasicConstraints=CA:FALSE\n");
        fs::write(self.dir.join(format!("{name}.ext")), extensions).unwrap();
        self.openssl(&[&format!("req -new -key {name}.key -out {name}.csr -subj /CN={name}")]);
        self.openssl(&[
            &format!("x509 -req -in {name}.csr -out {name}.pem -days {days} -extfile {name}.ext"),
            "-CA ca.pem -CAkey ca.key -CAcreateserial",
        ]);
        let both = [format!("{name}.key"), format!("{name}.pem")].map(|file| self.read(&file)).concat();
        fs::write(self.dir.join(format!("{name}-both.pem")), both).unwrap();
    }

    /// What is in a file of its.
    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.dir.join(name)).unwrap()
    }

    fn key(&self, name: &str) {
        self.openssl(&[&format!("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out {name}.key")]);
    }

    #[track_caller]
    fn openssl(&self, arguments: &[&str]) {
        let arguments = arguments.iter().flat_map(|part| part.split_whitespace());
        let (code, said) = run(Command::new("openssl").args(arguments).current_dir(&self.dir), "");
        assert_eq!(code, Some(0), "openssl: {said}");
    }
}
