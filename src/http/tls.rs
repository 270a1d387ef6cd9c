//! TLS of the server: what it is made of, and the handshake. Files are read when it is made; [`super::security`] makes it
//! anew when they change.

use super::web_config::{ClientAuth, TlsConfig};
use crate::{files, model::Secret};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, RootCertStore, ServerConfig, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
    server::{
        NoServerSessionStorage, VerifierBuilderError, WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};
use std::{io, path::PathBuf, sync::Arc, time::Duration};
use tokio::{
    io::AsyncWriteExt,
    net::TcpStream,
    sync::Semaphore,
    time::{Instant, timeout_at},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

/// Largest file with certificates or a key, in bytes.
pub const MAX_SERVER_PEM_FILE: u64 = 1 << 20;

/// Handshakes at a time; further ones wait for a place.
pub const MAX_HANDSHAKES: usize = 32;

/// Longest handshake, the wait for its place with it.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// The first byte of each handshake.
const HANDSHAKE: u8 = 22;

/// To whoever speaks HTTP where TLS is spoken.
const PLAIN_ANSWER: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n\
    Connection: close\r\nContent-Length: 32\r\n\r\nhttps is spoken here, not http.\n";

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be read.
    #[error("tls_server_config.{key}: cannot read {}", .path.display())]
    File {
        /// The key that names it.
        key: String,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file or text does not hold what it should.
    #[error("tls_server_config.{key}: no {what} in PEM in {place}")]
    Pem {
        /// The key.
        key: String,
        /// What is missing.
        what: &'static str,
        /// The path of the file, or what else it is.
        place: String,
    },
    /// The library will not have certificate and key.
    #[error("tls_server_config: the certificate (cert_file) and its key (key_file) cannot be used together")]
    Certificate(#[source] rustls::Error),
    /// The library will not have versions, cipher suites and curves.
    #[error("tls_server_config: min_version, max_version, cipher_suites and curve_preferences leave nothing to speak")]
    Suites(#[source] rustls::Error),
    /// The library will not have the CA's certificates.
    #[error("tls_server_config.client_ca_file: cannot be used")]
    ClientCa(#[source] VerifierBuilderError),
}

/// What the server is to speak, with the files as they are now.
///
/// # Errors
/// When a file cannot be read or used; names the key.
pub(super) fn server_config(config: &TlsConfig) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = Arc::new(provider(config));
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&config.min_version.up_to(config.max_version))
        .map_err(TlsError::Suites)?;
    let verifier = verifier(config, provider)?;
    let resumes = verifier.is_none();
    let builder = match verifier {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    let chain = certificates("cert", &config.certificate)?;
    let pem = pem("key", &config.key)?;
    let key = PrivateKeyDer::from_pem_slice(&pem).map_err(|_| missing("key", "key", &config.key))?;
    let mut server = builder.with_single_cert(chain, key).map_err(TlsError::Certificate)?;
    server.ignore_client_order = config.prefer_server_cipher_suites;
    server.alpn_protocols = vec![b"http/1.1".to_vec()];
    if !resumes {
        // A session that goes on would spare a certificate that has expired since the look at it.
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.send_tls13_tickets = 0;
    }
    Ok(Arc::new(server))
}

/// The files that [`server_config`] reads.
pub(super) fn files_of(config: &TlsConfig) -> impl Iterator<Item = PathBuf> {
    let all = [Some(&config.certificate), Some(&config.key), config.client_ca.as_ref()];
    all.into_iter().flatten().filter_map(|source| match source {
        Secret::File(path) => Some(path.clone()),
        Secret::Inline(_) => None,
    })
}

fn provider(config: &TlsConfig) -> CryptoProvider {
    let mut provider = ring::default_provider();
    if !config.cipher_suites.is_empty() {
        let all = std::mem::take(&mut provider.cipher_suites);
        let newer = all.iter().filter(|suite| suite.tls13().is_some());
        let chosen = config
            .cipher_suites
            .iter()
            .flat_map(|wanted| all.iter().filter(move |suite| suite.suite() == *wanted && suite.tls13().is_none()));
        provider.cipher_suites = newer.chain(chosen).copied().collect();
    }
    if !config.curve_preferences.is_empty() {
        let all = std::mem::take(&mut provider.kx_groups);
        let chosen =
            config.curve_preferences.iter().flat_map(|wanted| all.iter().filter(move |group| group.name() == *wanted));
        provider.kx_groups = chosen.copied().collect();
    }
    provider
}

fn verifier(
    config: &TlsConfig,
    provider: Arc<CryptoProvider>,
) -> Result<Option<Arc<dyn ClientCertVerifier>>, TlsError> {
    let (ClientAuth::IfGiven | ClientAuth::Required, Some(client_ca)) = (config.client_auth, &config.client_ca) else {
        return Ok(None);
    };
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(certificates("client_ca", client_ca)?);
    if added == 0 {
        return Err(missing("client_ca", "certificate that can be used", client_ca));
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let builder = if config.client_auth == ClientAuth::IfGiven { builder.allow_unauthenticated() } else { builder };
    let inner = builder.build().map_err(TlsError::ClientCa)?;
    if config.client_allowed_sans.is_empty() {
        return Ok(Some(inner));
    }
    Ok(Some(Arc::new(OnlyFor { inner, names: config.client_allowed_sans.clone() })))
}

fn certificates(key: &str, source: &Secret) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let pem = pem(key, source)?;
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    all.ok().filter(|all| !all.is_empty()).ok_or_else(|| missing(key, "certificate", source))
}

/// `key` is that of the text itself; that of a file ends in `_file`.
fn pem(key: &str, source: &Secret) -> Result<Vec<u8>, TlsError> {
    let read = |path| files::read_short(path, MAX_SERVER_PEM_FILE);
    match source {
        Secret::Inline(text) => Ok(text.clone().into_bytes()),
        Secret::File(path) => {
            read(path).map_err(|source| TlsError::File { key: format!("{key}_file"), path: path.clone(), source })
        }
    }
}

fn missing(key: &str, what: &'static str, source: &Secret) -> TlsError {
    match source {
        Secret::Inline(_) => TlsError::Pem { key: key.to_owned(), what, place: "the text".to_owned() },
        Secret::File(path) => TlsError::Pem { key: format!("{key}_file"), what, place: path.display().to_string() },
    }
}

/// Takes certificates that are signed well and are for one of these names.
#[derive(Debug)]
struct OnlyFor {
    inner: Arc<dyn ClientCertVerifier>,
    names: Vec<String>,
}

impl OnlyFor {
    fn allows(&self, certificate: &CertificateDer<'_>) -> Result<bool, rustls::Error> {
        let certificate = webpki::EndEntityCert::try_from(certificate).map_err(|_| CertificateError::BadEncoding)?;
        Ok(self.names.iter().any(|allowed| {
            let address = match ServerName::try_from(allowed.as_str()) {
                Ok(name @ ServerName::IpAddress(_)) => certificate.verify_is_valid_for_subject_name(&name).is_ok(),
                _ => false,
            };
            // As they are written, so that a wildcard stands for itself only.
            address
                || certificate.valid_dns_names().any(|name| name == allowed.as_str())
                || certificate.valid_uri_names().any(|uri| uri == allowed.as_str())
        }))
    }
}

impl ClientCertVerifier for OnlyFor {
    fn offer_client_auth(&self) -> bool {
        self.inner.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.inner.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.inner.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let verified = self.inner.verify_client_cert(end_entity, intermediates, now)?;
        if self.allows(end_entity)? {
            Ok(verified)
        } else {
            Err(CertificateError::ApplicationVerificationFailure.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

/// Shakes hands; the error is why not, as [`crate::model::families::HTTP_REJECTED`] counts it.
pub(super) async fn shake_hands(
    mut stream: TcpStream,
    config: Arc<ServerConfig>,
    places: &Semaphore,
    limit: Duration,
) -> Result<TlsStream<TcpStream>, &'static str> {
    let deadline = Instant::now() + limit;
    let handshake = async {
        // Never closed, so that there is a place at last.
        let _place = places.acquire().await;
        let mut first = [0];
        if stream.peek(&mut first).await.is_ok_and(|read| read == 1) && first != [HANDSHAKE] {
            let _gone = stream.write_all(PLAIN_ANSWER).await;
            return Err("no_tls");
        }
        TlsAcceptor::from(config).accept(stream).await.map_err(|error| {
            tracing::debug!(%error, "no TLS connection");
            "handshake"
        })
    };
    timeout_at(deadline, Box::pin(handshake)).await.unwrap_or(Err("too_slow"))
}
