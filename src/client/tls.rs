//! TLS as a client.

use crate::files;
use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme, SupportedProtocolVersion,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
};
use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

/// Bytes of a file that holds certificates or a key.
pub const MAX_PEM_FILE: u64 = 1 << 20;

/// A version of TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// 1.2
    #[default]
    Tls12,
    /// 1.3
    Tls13,
}

impl TlsVersion {
    /// All that there are here, as Prometheus writes them.
    pub const NAMES: [(&'static str, Self); 2] = [("TLS12", Self::Tls12), ("TLS13", Self::Tls13)];

    /// As Prometheus writes it.
    pub fn text(self) -> &'static str {
        match self {
            Self::Tls12 => "TLS12",
            Self::Tls13 => "TLS13",
        }
    }

    /// All from this one up to `most`, the newest first.
    pub fn up_to(self, most: Self) -> Vec<&'static SupportedProtocolVersion> {
        let all = [(Self::Tls13, &rustls::version::TLS13), (Self::Tls12, &rustls::version::TLS12)];
        all.into_iter().filter(|(version, _)| (self..=most).contains(version)).map(|(_, version)| version).collect()
    }
}

/// What a server's certificate must be signed by, and what we show it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// Certificates to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// Our certificate and its key.
    pub certificate: Option<(PathBuf, PathBuf)>,
    /// The name that the server's certificate must have, if not that of its URL.
    pub server_name: Option<String>,
    /// Take any certificate, whoever's it is.
    pub insecure_skip_verify: bool,
    /// No older version than this.
    pub min_version: TlsVersion,
}

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The system's certificates.
    #[error("cannot load the certificates that this system trusts")]
    Roots,
    /// A file cannot be read.
    #[error("cannot read {key} {}", .path.display())]
    File {
        /// The key of the configuration that names it.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file does not hold what it should.
    #[error("{key} {} holds no {what}", .path.display())]
    Pem {
        /// The key of the configuration that names it.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// What is missing.
        what: &'static str,
    },
    /// The library will not have it.
    #[error("our certificate (cert_file) and its key (key_file) cannot be used")]
    Certificate(#[source] rustls::Error),
    /// Neither a host's name nor an address.
    #[error("the server's name is none that a certificate can have")]
    Name,
}

impl Tls {
    /// The name that the server's certificate must have, where its URL says `host`.
    ///
    /// # Errors
    /// When no certificate could have it.
    pub fn name(&self, host: &str) -> Result<ServerName<'static>, TlsError> {
        let name = self.server_name.as_deref().unwrap_or(host).trim_start_matches('[').trim_end_matches(']');
        ServerName::try_from(name.to_owned()).map_err(|_| TlsError::Name)
    }

    /// All that a connection needs, with the files as they are now.
    ///
    /// # Errors
    /// When a file cannot be read or used.
    pub fn client_config(&self) -> Result<Arc<ClientConfig>, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&self.min_version.up_to(TlsVersion::Tls13))
            .map_err(TlsError::Certificate)?;
        let builder = if self.insecure_skip_verify {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Anybody(provider)))
        } else {
            builder.with_root_certificates(self.roots()?)
        };
        let Some((certificate, key)) = &self.certificate else { return Ok(Arc::new(builder.with_no_client_auth())) };
        let chain = certificates("cert_file", certificate)?;
        let key = private_key("key_file", key)?;
        Ok(Arc::new(builder.with_client_auth_cert(chain, key).map_err(TlsError::Certificate)?))
    }

    fn roots(&self) -> Result<Arc<RootCertStore>, TlsError> {
        /// Made at first use: a host without certificates can still speak plain HTTP.
        static SYSTEM: OnceLock<Arc<RootCertStore>> = OnceLock::new();
        let mut roots = RootCertStore::empty();
        match (&self.ca_file, SYSTEM.get()) {
            (Some(file), _) => {
                let (added, _) = roots.add_parsable_certificates(certificates("ca_file", file)?);
                if added == 0 {
                    return Err(TlsError::Pem { key: "ca_file", path: file.clone(), what: "certificate" });
                }
                Ok(Arc::new(roots))
            }
            (None, Some(roots)) => Ok(Arc::clone(roots)),
            (None, None) => {
                // Those that cannot be read are left out, as everywhere; none at all is what matters.
                let (added, _) = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
                if added == 0 {
                    return Err(TlsError::Roots);
                }
                Ok(Arc::clone(SYSTEM.get_or_init(|| Arc::new(roots))))
            }
        }
    }
}

/// The certificates in the file that `key` names; one at least.
fn certificates(key: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let pem = read(key, path)?;
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match all {
        Ok(all) if !all.is_empty() => Ok(all),
        _ => Err(TlsError::Pem { key, path: path.to_owned(), what: "certificate" }),
    }
}

/// The private key in the file that `key` names.
fn private_key(key: &'static str, path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let pem = read(key, path)?;
    let what = "key that can be used";
    PrivateKeyDer::from_pem_slice(&pem).map_err(|_| TlsError::Pem { key, path: path.to_owned(), what })
}

fn read(key: &'static str, path: &Path) -> Result<Vec<u8>, TlsError> {
    files::read_short(path, MAX_PEM_FILE).map_err(|source| TlsError::File { key, path: path.to_owned(), source })
}

/// Takes any certificate. What was signed with its key must be right all the same: it is that certificate's owner.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
