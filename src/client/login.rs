//! The header that says who we are.

use crate::{files, model::Secret};
use base64::{Engine, engine::general_purpose::STANDARD};
use hyper::header::HeaderValue;
use std::{io, path::PathBuf};

/// Largest file with a password or a token, in bytes: some tokens are certificates by themselves.
pub const MAX_LOGIN_FILE: u64 = 16 << 10;

/// Who we are to somebody by HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Login {
    /// Basic authentication.
    Basic {
        /// The user.
        username: String,
        /// The password.
        password: Secret,
    },
    /// `Authorization: scheme credentials`.
    Header {
        /// Such as `Bearer`.
        scheme: String,
        /// Such as a token.
        credentials: Secret,
    },
}

/// Why there is no header. Never shows what is in a file.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// The file of a secret cannot be read.
    #[error("cannot read {key} {}", .path.display())]
    File {
        /// The key of agent.yaml that names it.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// What no header can hold.
    #[error("{0} holds characters that no header can")]
    Header(&'static str),
}

impl Login {
    /// The value of the header `Authorization`.
    ///
    /// # Errors
    /// When a secret cannot be read, or cannot be sent.
    pub fn authorization(&self) -> Result<HeaderValue, LoginError> {
        let (text, key) = match self {
            Self::Basic { username, password } => {
                let password = secret(password, "basic_auth.password_file")?;
                (format!("Basic {}", STANDARD.encode(format!("{username}:{password}"))), "basic_auth.password")
            }
            Self::Header { scheme, credentials } => {
                let credentials = secret(credentials, "authorization.credentials_file")?;
                (format!("{scheme} {credentials}"), "authorization.credentials")
            }
        };
        let mut value = HeaderValue::try_from(text).map_err(|_| LoginError::Header(key))?;
        value.set_sensitive(true);
        Ok(value)
    }
}

fn secret(secret: &Secret, key: &'static str) -> Result<String, LoginError> {
    match secret {
        Secret::Inline(text) => Ok(text.clone()),
        Secret::File(path) => files::read_secret(path, MAX_LOGIN_FILE).map_err(|source| LoginError::File {
            key,
            path: path.clone(),
            source,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_made_of_what_the_file_holds_now() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("token");
        let login = Login::Header { scheme: "Bearer".into(), credentials: Secret::File(file.clone()) };
        let error = login.authorization().unwrap_err().to_string();
        assert_eq!(error, format!("cannot read authorization.credentials_file {}", file.display()));
        for token in ["first", "second"] {
            std::fs::write(&file, format!("{token}\n")).unwrap();
            let value = login.authorization().unwrap();
            assert_eq!(value, format!("Bearer {token}"));
            assert!(!format!("{value:?} {login:?}").contains(token));
        }
        std::fs::write(&file, "two\nlines").unwrap();
        let error = login.authorization().unwrap_err().to_string();
        assert_eq!(error, "authorization.credentials holds characters that no header can");
        let basic = Login::Basic { username: "ü".into(), password: Secret::Inline("p:ß".into()) };
        assert_eq!(basic.authorization().unwrap(), "Basic w7w6cDrDnw==");
        assert!(!format!("{basic:?}").contains('ß'));
    }
}
