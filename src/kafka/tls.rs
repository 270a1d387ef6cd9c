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
    io::{self, Read, Write},
    net::{TcpStream, ToSocketAddrs},
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

/// Largest file with certificates of CAs, in bytes.
pub const MAX_CA_FILE: u64 = 4 << 20;
/// Longest time for a connection and a handshake together, when it is looked what is wrong with a certificate.
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

/// A stream that ends at a moment, however little at a time comes in or is taken until then.
struct Until {
    stream: TcpStream,
    deadline: Instant,
}

impl Until {
    fn left(&self) -> io::Result<Duration> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
    }
}

impl Read for Until {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(Some(self.left()?))?;
        self.stream.read(buffer)
    }
}

impl Write for Until {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(Some(self.left()?))?;
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

/// What is wrong with the certificate of the broker at `address` (`host:port`), if that can be said. Waits for the broker.
pub fn what_is_wrong(address: &str, trust: &Trust) -> Option<String> {
    let (host, port) = address.rsplit_once(':')?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let config = client_config(trust).ok()?;
    let name = ServerName::try_from(host.to_owned()).ok()?;
    let mut connection = ClientConnection::new(Arc::new(config), name).ok()?;
    let mut addresses = (host, port.parse::<u16>().ok()?).to_socket_addrs().ok()?;
    let deadline = Instant::now() + LOOK_TIMEOUT;
    let stream = addresses.find_map(|address| {
        let left = deadline.saturating_duration_since(Instant::now());
        (!left.is_zero()).then(|| TcpStream::connect_timeout(&address, left).ok())?
    })?;
    let error = connection.complete_io(&mut Until { stream, deadline }).err()?;
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

    /// A record of a handshake that is promised to be long, and comes a byte at a time.
    #[test]
    fn a_handshake_that_never_ends_is_given_up() {
        let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = server.local_addr().unwrap().to_string();
        let drips = std::thread::spawn(move || {
            let (mut stream, _) = server.accept().unwrap();
            let mut bytes = [0x16, 3, 3, 0x3f, 0xff].into_iter().chain(std::iter::repeat(2));
            let mut written = 0;
            while bytes.next().is_some_and(|byte| stream.write_all(&[byte]).is_ok()) {
                written += 1;
                std::thread::park_timeout(Duration::from_millis(50));
            }
            written
        });
        let started = Instant::now();
        assert_eq!(what_is_wrong(&address, &Trust::System), None);
        assert!(started.elapsed() < LOOK_TIMEOUT + Duration::from_secs(2), "{:?}", started.elapsed());
        assert!(drips.join().unwrap() > 10, "it was given up for another reason");
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
