//! A certificate authority for tests, by the program `openssl`. Keys and certificates are files in PEM.

use super::process::run;
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// What `openssl ca` wants to know.
const CA_CONFIG: &str = "[ca]\ndefault_ca = it\n[it]\ndatabase = index.txt\ndefault_md = sha256\npolicy = any\n\
    unique_subject = no\nrand_serial = yes\n[any]\ncommonName = supplied\n";

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
        // `openssl x509` can only begin today, and an end before that makes no certificate that has expired but a wrong one.
        let start = if days < 0 { "20200101000000Z" } else { "20250101000000Z" };
        let end = if days < 0 { "-enddate 20200201000000Z".to_owned() } else { format!("-days {days}") };
        fs::write(self.dir.join("ca.cnf"), CA_CONFIG).unwrap();
        fs::write(self.dir.join("index.txt"), "").unwrap();
        self.openssl(&[
            &format!("ca -batch -notext -config ca.cnf -in {name}.csr -out {name}.pem -extfile {name}.ext"),
            &format!("-startdate {start} {end} -cert ca.pem -keyfile ca.key -outdir ."),
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
