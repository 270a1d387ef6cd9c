//! Until when certificates are valid. Pure.

use super::finding::Finding;
use crate::model::Timestamp;
use rustls::pki_types::{CertificateDer, UnixTime, pem::PemObject};
use std::{
    path::Path,
    time::{Duration, UNIX_EPOCH},
};
use webpki::{EndEntityCert, Error, KeyUsage};

/// A certificate that ends sooner is warned of.
pub(super) const EXPIRES_SOON: Duration = Duration::from_hours(14 * 24);

/// Whose certificates a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    /// Ours, with those above it: all must be valid.
    Ours,
    /// CAs that we trust: an old one among others is usual.
    Authorities,
}

/// Judges a file of certificates in PEM, named by the key `about`.
pub(super) fn judge(about: &str, path: &Path, pem: &[u8], whose: Whose, now: Timestamp) -> Finding {
    let file = path.display();
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(pem).filter_map(Result::ok).collect();
    let ends: Vec<_> = certificates.iter().filter_map(end).collect();
    let end = match whose {
        Whose::Ours => ends.iter().min(),
        Whose::Authorities => ends.iter().max(),
    };
    let Some(end) = end else {
        return if certificates.is_empty() {
            Finding::fail(about, format!("{file} holds no certificate"), "write one in PEM there")
        } else {
            Finding::warn(
                about,
                format!("cannot say when the certificate in {file} ends"),
                "look at it with openssl x509",
            )
        };
    };
    let date = UNIX_EPOCH.checked_add(Duration::from_millis(end.0)).map(humantime::format_rfc3339_seconds);
    let date = date.map_or_else(String::new, |date| date.to_string());
    if *end <= now {
        Finding::fail(about, format!("{file} has expired at {date}"), "renew it; a running agent takes it up by itself")
    } else if end.since(now) < EXPIRES_SOON {
        Finding::warn(about, format!("{file} expires at {date}"), "renew it; a running agent takes it up by itself")
    } else {
        Finding::ok(about, format!("{file} is valid until {date}"))
    }
}

/// The last moment at which a certificate is valid; `None` where it cannot be said.
fn end(certificate: &CertificateDer<'_>) -> Option<Timestamp> {
    let certificate = EndEntityCert::try_from(certificate).ok()?;
    // At the end of time every certificate has expired, and that is looked at first.
    let never = UnixTime::since_unix_epoch(Duration::from_secs(u64::MAX));
    match certificate.verify_for_usage(&[], &[], &[], never, KeyUsage::server_auth(), None, None) {
        Err(Error::CertExpired { not_after, .. }) => Some(Timestamp(not_after.as_secs().saturating_mul(1000))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{super::finding::Level, *};

    const SERVER: &[u8] = include_bytes!("../../../tests/data/tls/server.pem");
    const AUTHORITY: &[u8] = include_bytes!("../../../tests/data/tls/ca.pem");

    #[test]
    fn certificates_end_when_they_say() {
        // openssl x509 -noout -enddate: Oct 31 10:19:57 2126 GMT, both.
        let end = Timestamp(4_949_115_597_000);
        let before = |time: Duration| Timestamp(end.0 - u64::try_from(time.as_millis()).unwrap());
        let (second, later) = (Duration::from_secs(1), Timestamp(before(EXPIRES_SOON).0 + 1000));
        for (pem, whose) in [(SERVER, Whose::Ours), (AUTHORITY, Whose::Authorities), (AUTHORITY, Whose::Ours)] {
            for (now, level) in [
                (before(EXPIRES_SOON), Level::Ok),
                (later, Level::Warn),
                (before(second), Level::Warn),
                (end, Level::Fail),
            ] {
                let found = judge("k", Path::new("/c.pem"), pem, whose, now);
                assert_eq!(found.level, level, "{now:?}: {found}");
                assert!(found.to_string().contains("2126-10-31T10:19:57Z"), "{found}");
            }
        }
        assert_eq!(judge("k", Path::new("/c.pem"), b"none", Whose::Ours, end).level, Level::Fail);
        let broken = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert_eq!(judge("k", Path::new("/c.pem"), broken, Whose::Ours, end).level, Level::Warn);
    }
}
