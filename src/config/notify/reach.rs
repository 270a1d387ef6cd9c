//! How others are reached as a client: proxy, TLS, and who we are to them. The keys are Prometheus' own.

use super::secret;
use crate::{
    client::{Login, Tls, TlsVersion},
    config::{
        problem::key_path,
        read::{Field, Reader, Section},
        url::url,
    },
    deliver::Reach,
};

/// Longest name of a user, a scheme or a server, in bytes.
const MAX_WORD_BYTES: usize = 255;

/// `proxy_url` and `tls_config`; `None` where something is wrong.
pub(in crate::config) fn reach(reader: &mut Reader<'_>, section: &mut Section) -> Option<Reach> {
    let proxy = section.take("proxy_url").map(|field| url(reader, field, &["http"], "a URL such as http://proxy:3128"));
    let tls = tls(reader, section, false);
    let proxy = match proxy {
        Some(proxy) => Some(proxy?),
        None => None,
    };
    Some(Reach { proxy, tls: tls? })
}

/// `tls_config`; `None` where something is wrong. Whoever gets alerts and the tokens that come with them must be who they
/// say they are; a page that is read need not (`anybody`).
pub(in crate::config) fn tls(reader: &mut Reader<'_>, section: &mut Section, anybody: bool) -> Option<Tls> {
    let Some(field) = section.take("tls_config") else { return Some(Tls::default()) };
    let mut section = reader.section(field)?;
    let ca_file = section.take("ca_file").and_then(|field| reader.path(&field));
    let certificate = section.take("cert_file");
    let key = section.take("key_file");
    let certificate = match (certificate, key) {
        (Some(certificate), Some(key)) => Some((reader.path(&certificate)?, reader.path(&key)?)),
        (None, None) => None,
        _ => {
            reader.problem(&section.path, "only one of cert_file and key_file is there; allowed: both or none");
            None
        }
    };
    let server_name = section.take("server_name").and_then(|field| {
        let good = |text: &str| {
            !text.is_empty()
                && text.len() <= MAX_WORD_BYTES
                && text.chars().all(|c| c.is_ascii_alphanumeric() || ".-:".contains(c))
        };
        reader.parsed(&field, "a host's name", |text| good(text).then(|| text.to_owned()))
    });
    let skip = if anybody { section.take("insecure_skip_verify") } else { None };
    let insecure_skip_verify = skip.and_then(|field| reader.boolean(&field));
    let min_version = section.take("min_version").and_then(|field| tls_version(reader, &field));
    reader.finish(section);
    Some(Tls {
        ca_file,
        certificate,
        server_name,
        insecure_skip_verify: insecure_skip_verify.unwrap_or_default(),
        min_version: min_version.unwrap_or_default(),
    })
}

/// `TLS12` or `TLS13`.
pub(in crate::config) fn tls_version(reader: &mut Reader<'_>, field: &Field) -> Option<TlsVersion> {
    let word = reader.choice(field, &TlsVersion::NAMES.map(|(name, _)| name), &[])?;
    TlsVersion::NAMES.into_iter().find(|(name, _)| *name == word).map(|(_, version)| version)
}

/// `basic_auth` or `authorization`.
pub(in crate::config) fn login(reader: &mut Reader<'_>, section: &mut Section) -> Option<Login> {
    let (basic, header) = (section.take("basic_auth"), section.take("authorization"));
    if basic.is_some() && header.is_some() {
        let path = key_path(&section.path, "basic_auth");
        reader.problem(&path, "both basic_auth and authorization are there; allowed: one of them");
        return None;
    }
    let word = |text: &str| {
        (!text.is_empty() && text.len() <= MAX_WORD_BYTES && !text.contains(char::is_control)).then(|| text.to_owned())
    };
    if let Some(field) = basic {
        let mut section = reader.section(field)?;
        let username = reader.required(&mut section, "username", "a user's name");
        // A colon would end it.
        let username = username.and_then(|field| {
            reader.parsed(&field, "a user's name without colon", |text| word(text).filter(|text| !text.contains(':')))
        });
        let password = secret(reader, &mut section, "password", "password_file", "a password");
        reader.finish(section);
        return Some(Login::Basic { username: username?, password: password? });
    }
    let mut section = reader.section(header?)?;
    let token = |text: &str| word(text).filter(|text| text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-'));
    let scheme = section.take("type").map(|field| reader.parsed(&field, "a word such as Bearer", token));
    let scheme = scheme.unwrap_or_else(|| Some("Bearer".to_owned()));
    let credentials = secret(reader, &mut section, "credentials", "credentials_file", "a token");
    reader.finish(section);
    Some(Login::Header { scheme: scheme?, credentials: credentials? })
}
