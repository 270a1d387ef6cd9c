//! Who we are to others as a client, and whom we trust: Prometheus' `tls_config`, `basic_auth` and `authorization`. Files
//! are read at each use, so that they can be rotated. Knows neither HTTP requests nor what is asked of whom.

mod login;
mod tls;

pub use login::{Login, LoginError, MAX_LOGIN_FILE};
pub use tls::{MAX_PEM_FILE, Tls, TlsError, TlsVersion};
