//! What a web configuration file may say: exporter-toolkit's keys, checked. Knows no YAML and no file but by its path.

use crate::{client::TlsVersion, model::Secret};
use hyper::header::{HeaderName, HeaderValue};
use rustls::{CipherSuite, NamedGroup};
use std::{collections::BTreeMap, fmt, path::Path, str::FromStr};

/// The dearest hash of a password that is computed, as bcrypt counts: a second or two. Each step doubles it.
pub const MAX_BCRYPT_COST: u32 = 15;

/// Bytes of a hash by bcrypt, of `$2b$10$` before its salt, and where the last of the salt is: 4 of its 6 bits are 0.
const HASH_LENGTH: usize = 60;
const HASH_HEAD: usize = 7;
const SALT_END: usize = 28;

/// The cipher suites that there are here, by Go's names. Those of TLS 1.3 cannot be chosen, as in Go.
pub const CIPHER_SUITES: [(&str, CipherSuite); 9] = [
    ("TLS_AES_128_GCM_SHA256", CipherSuite::TLS13_AES_128_GCM_SHA256),
    ("TLS_AES_256_GCM_SHA384", CipherSuite::TLS13_AES_256_GCM_SHA384),
    ("TLS_CHACHA20_POLY1305_SHA256", CipherSuite::TLS13_CHACHA20_POLY1305_SHA256),
    ("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256),
    ("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384),
    ("TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256),
    ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256),
    ("TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384),
    ("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256),
];

/// The curves that there are here, by Go's names.
pub const CURVES: [(&str, NamedGroup); 3] =
    [("CurveP256", NamedGroup::secp256r1), ("CurveP384", NamedGroup::secp384r1), ("X25519", NamedGroup::X25519)];

/// Reads a web configuration file; the error is for people, and names the file.
pub type ReadWebConfig = fn(&Path) -> Result<WebConfig, String>;

/// A web configuration file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WebConfig {
    /// `tls_server_config`; `None` = plain HTTP.
    pub tls: Option<TlsConfig>,
    /// `basic_auth_users`; none = no log-in.
    pub users: BTreeMap<String, PasswordHash>,
    /// `http_server_config.headers`, for answers that do not have them.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

/// `tls_server_config`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsConfig {
    /// Our certificate with those between it and the CA's, in PEM.
    pub certificate: Secret,
    /// Its key, in PEM.
    pub key: Secret,
    /// Must clients show certificates?
    pub client_auth: ClientAuth,
    /// Certificates of the CAs that sign those of clients, in PEM.
    pub client_ca: Option<Secret>,
    /// A client's certificate must be for one of these names, addresses or URIs; none = any.
    pub client_allowed_sans: Vec<String>,
    /// The oldest version that is spoken.
    pub min_version: TlsVersion,
    /// The newest.
    pub max_version: TlsVersion,
    /// Those of TLS 1.2 that may be used, the best first; none = all.
    pub cipher_suites: Vec<CipherSuite>,
    /// Is it our order of cipher suites that counts, or the client's?
    pub prefer_server_cipher_suites: bool,
    /// Those that may be used, the best first; none = all.
    pub curve_preferences: Vec<NamedGroup>,
}

/// `client_auth_type`. Go knows two more, which take any certificate, whoever signed it: they prove nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientAuth {
    /// No certificate is asked for.
    #[default]
    None,
    /// One that is shown must be good.
    IfGiven,
    /// A good one must be shown.
    Required,
}

impl ClientAuth {
    /// By Go's names.
    pub const NAMES: [(&'static str, Self); 3] = [
        ("NoClientCert", Self::None),
        ("VerifyClientCertIfGiven", Self::IfGiven),
        ("RequireAndVerifyClientCert", Self::Required),
    ];
}

/// The hash of a password by bcrypt. Not shown either: it can be searched at home.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(String);

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl PasswordHash {
    /// Checks that it is one.
    ///
    /// # Errors
    /// What is wrong with it, without showing it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let none = || "not a hash by bcrypt".to_owned();
        let parts = bcrypt::HashParts::from_str(text).map_err(|_| none())?;
        // The library finds out about these when it is asked, and then nobody can log in.
        let letters = text.bytes().skip(HASH_HEAD).all(|byte| byte.is_ascii_alphanumeric() || b"./".contains(&byte));
        let salt_ends = text.as_bytes().get(SALT_END).is_some_and(|last| b".Oeu".contains(last));
        if !letters || !salt_ends || text.len() != HASH_LENGTH {
            return Err(none());
        }
        match parts.get_cost() {
            4..=MAX_BCRYPT_COST => Ok(Self(text.to_owned())),
            cost => Err(format!("a hash by bcrypt of cost {cost}")),
        }
    }

    /// Is it that of `password`? Takes its time: some 50 ms at cost 10.
    pub(super) fn is_of(&self, password: &[u8]) -> bool {
        // It was parsed before, so that nothing can be wrong with it.
        bcrypt::verify(password, &self.0).unwrap_or(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_taken_in_the_forms_that_tools_write_and_never_shown() {
        let hash = bcrypt::hash("s3cr3t", 4).unwrap();
        for version in ["$2a$", "$2b$", "$2y$"] {
            let hash = PasswordHash::parse(&hash.replace("$2b$", version)).unwrap();
            assert!(hash.is_of(b"s3cr3t") && !hash.is_of(b"s3cr3T") && !hash.is_of(b""));
            assert_eq!(format!("{hash:?}"), "***");
        }
        for (bad, what) in [
            ("", "not a hash by bcrypt"),
            ("s3cr3t", "not a hash by bcrypt"),
            (&hash.replace("$2b$", "$1$$"), "not a hash by bcrypt"),
            (&hash.replacen(|c: char| c == '/' || c.is_ascii_lowercase(), "!", 1), "not a hash by bcrypt"),
            (
                &hash.chars().enumerate().map(|(at, c)| if at == 28 { 'z' } else { c }).collect::<String>(),
                "not a hash by bcrypt",
            ),
            (hash.strip_suffix(|_: char| true).unwrap(), "not a hash by bcrypt"),
            (&hash.replace("$04$", "$16$"), "a hash by bcrypt of cost 16"),
            (&hash.replace("$04$", "$03$"), "a hash by bcrypt of cost 3"),
        ] {
            assert_eq!(PasswordHash::parse(bad).unwrap_err(), what);
        }
    }
}
