//! Certificates that are to be trusted, and what is wrong with one that is not. librdkafka only says that a certificate
//! was not verified; why is found out by another handshake, which goes no further.

use crate::files;
use hyper_rustls::ConfigBuilderExt;
use rustls::{
    CertificateError, ClientConfig, ClientConnection, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use std::{
    io,
    net::{TcpStream, ToSocketAddrs},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

/// Largest file with certificates of CAs, in bytes.
pub const MAX_CA_FILE: u64 = 4 << 20;
/// Longest wait for a connection, or for any piece of a handshake, when it is looked what is wrong with a certificate.
const LOOK_TIMEOUT: Duration = Duration::from_secs(2);

/// Whose certificates are trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Those that this system trusts.
    System,
    /// Those in a file.
    File(PathBuf),
    /// Those given.
    Pem(String),
}

/// Why nobody can be trusted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrustError {
    /// The system's.
    #[error("cannot load the certificates that this system trusts")]
    System(#[source] io::Error),
    /// A file's.
    #[error("cannot read the file with the CA's certificate")]
    File(#[source] io::Error),
    /// Not PEM, or empty.
    #[error("no certificate of a CA in PEM")]
    Empty,
    /// The library's.
    #[error("cannot set up TLS")]
    Library(#[source] rustls::Error),
}

/// TLS for a client without a certificate of its own.
///
/// # Errors
/// When the certificates to be trusted cannot be had.
pub fn client_config(trust: &Trust) -> Result<ClientConfig, TrustError> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(TrustError::Library)?;
    let builder = match trust {
        Trust::System => builder.with_native_roots().map_err(TrustError::System)?,
        Trust::File(path) => {
            let pem = files::read_short(path, MAX_CA_FILE).map_err(TrustError::File)?;
            builder.with_root_certificates(roots(&pem)?)
        }
        Trust::Pem(pem) => builder.with_root_certificates(roots(pem.as_bytes())?),
    };
    Ok(builder.with_no_client_auth())
}

/// Those that can be read; a bundle may have some that nobody can.
fn roots(pem: &[u8]) -> Result<RootCertStore, TrustError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(CertificateDer::pem_slice_iter(pem).filter_map(Result::ok));
    if roots.is_empty() { Err(TrustError::Empty) } else { Ok(roots) }
}

/// What is wrong with the certificate of the broker at `address` (`host:port`), if that can be said. Waits for the broker.
pub fn what_is_wrong(address: &str, trust: &Trust) -> Option<String> {
    let (host, port) = address.rsplit_once(':')?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let config = client_config(trust).ok()?;
    let name = ServerName::try_from(host.to_owned()).ok()?;
    let mut connection = ClientConnection::new(Arc::new(config), name).ok()?;
    let mut addresses = (host, port.parse::<u16>().ok()?).to_socket_addrs().ok()?;
    let mut stream = addresses.find_map(|address| TcpStream::connect_timeout(&address, LOOK_TIMEOUT).ok())?;
    stream.set_read_timeout(Some(LOOK_TIMEOUT)).ok()?;
    stream.set_write_timeout(Some(LOOK_TIMEOUT)).ok()?;
    let error = connection.complete_io(&mut stream).err()?;
    match error.get_ref()?.downcast_ref::<rustls::Error>()? {
        rustls::Error::InvalidCertificate(error) => explanation(address, error),
        _ => None,
    }
}

fn explanation(address: &str, error: &CertificateError) -> Option<String> {
    let what = match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "has expired: renew it at the broker, or look at the clock of this host"
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "is not valid yet: look at the clocks of this host and of who issued it"
        }
        // A CA that was made anew under its old name has signed nothing of before.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "was not issued by a CA that we know: mend ssl.ca.location (a file with the CA's certificate in PEM) in \
             kafka.properties"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "is not for this name: mend kafka.bootstrap_servers or the broker's advertised.listeners, or have it issued \
             with this name among its subjectAltName"
        }
        _ => return None,
    };
    Some(format!("the certificate of {address} {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_names_what_to_mend() {
        for (error, words) in [
            (CertificateError::Expired, "a:1 has expired"),
            (CertificateError::NotValidYet, "clocks"),
            (CertificateError::UnknownIssuer, "ssl.ca.location"),
            (CertificateError::BadSignature, "ssl.ca.location"),
            (CertificateError::NotValidForName, "kafka.bootstrap_servers"),
        ] {
            let text = explanation("a:1", &error).expect("an explanation");
            assert!(text.contains(words), "{text}");
        }
        assert_eq!(explanation("a:1", &CertificateError::BadEncoding), None);
        // Nobody there, or not an address: nothing can be said.
        let nobody = Trust::Pem("nothing".to_owned());
        assert_eq!(what_is_wrong("127.0.0.1:1", &nobody), None);
        assert_eq!(what_is_wrong("nonsense", &Trust::System), None);
    }

    #[test]
    fn only_certificates_are_trusted() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ca.pem");
        let said = |trust: &Trust| client_config(trust).expect_err("nobody to trust").to_string();
        assert!(said(&Trust::File(path.clone())).contains("cannot read"));
        std::fs::write(&path, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
        assert!(said(&Trust::File(path)).contains("no certificate"));
        assert!(said(&Trust::Pem(String::new())).contains("no certificate"));
    }
}
