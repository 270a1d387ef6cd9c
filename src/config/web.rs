//! A web configuration file: exporter-toolkit's keys. Nothing from the environment is expanded in it, as elsewhere in
//! Prometheus' world.

use super::{
    notify::tls_version,
    problem::{key_path, sentence},
    read::{Field, Reader, Section},
    yaml::{self, Node},
};
use crate::{
    client::TlsVersion,
    files,
    http::{
        CIPHER_SUITES, CURVES, ClientAuth, MAX_BCRYPT_COST, MAX_WEB_CONFIG_FILE, PasswordHash, TlsConfig, WebConfig,
    },
    model::Secret,
};
use hyper::header::{
    CONTENT_SECURITY_POLICY, HeaderName, HeaderValue, STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS, X_XSS_PROTECTION,
};
use std::{collections::BTreeMap, path::Path};

/// Most users of `basic_auth_users`.
pub const MAX_WEB_USERS: usize = 1000;
/// Longest name of a user there, in bytes.
pub const MAX_USER_BYTES: usize = 255;
/// Longest certificate or key written in the file itself, in bytes.
pub const MAX_INLINE_PEM_BYTES: usize = 256 << 10;

/// Reads and checks a web configuration file; relative paths are taken from its folder. The files that it names are not
/// read.
///
/// # Errors
/// All that is wrong with it, in words for people.
pub fn web_config(path: &Path) -> Result<WebConfig, String> {
    let named = |text: String| format!("{}: {text}", path.display());
    let absolute = std::path::absolute(path).map_err(|error| named(error.to_string()))?;
    let bytes = files::read_short(path, MAX_WEB_CONFIG_FILE).map_err(|error| named(error.to_string()))?;
    let text = String::from_utf8(bytes).map_err(|_| named("not UTF-8".to_owned()))?;
    let node = match yaml::parse(&text).map_err(named)? {
        Node::Null => Node::Map(Vec::new()),
        node => node,
    };
    let mut reader = Reader::new(None, absolute.parent().unwrap_or(Path::new("/")));
    let config = read(&mut reader, node);
    let problems = reader.into_problems();
    if problems.is_empty() { Ok(config) } else { Err(named(sentence(&problems))) }
}

fn read(reader: &mut Reader<'_>, node: Node) -> WebConfig {
    // Hardly anything in it may be shown, and what may is said below.
    let Some(mut section) = reader.section(Field { path: String::new(), node, secret: false }) else {
        return WebConfig::default();
    };
    let tls = section.take("tls_server_config").and_then(|field| tls(reader, field));
    let headers = section.take("http_server_config").map(|field| http(reader, field)).unwrap_or_default();
    let users = section.take("basic_auth_users").map(|field| users(reader, field)).unwrap_or_default();
    if section.remove("rate_limit").is_some() {
        let text = "there is none here; allowed: nothing (connections are bounded, and failed log-ins throttled)";
        reader.problem("rate_limit", text);
    }
    reader.finish(section);
    WebConfig { tls, users, headers }
}

fn tls(reader: &mut Reader<'_>, field: Field) -> Option<TlsConfig> {
    let mut section = reader.section(field)?;
    let certificate = pem(reader, &mut section, "cert", "cert_file");
    let key = pem(reader, &mut section, "key", "key_file");
    let client_ca = pem(reader, &mut section, "client_ca", "client_ca_file");
    for (name, found) in [("cert_file", &certificate), ("key_file", &key)] {
        if matches!(found, Found::Nothing) {
            reader.problem(&key_path(&section.path, name), "missing; allowed: the path of a file in PEM");
        }
    }
    let client_auth = section.take("client_auth_type").and_then(|field| client_auth(reader, &field));
    let sans = section.take("client_allowed_sans").map(|field| allowed_sans(reader, field)).unwrap_or_default();
    let min = section.take("min_version").and_then(|field| tls_version(reader, &field)).unwrap_or(TlsVersion::Tls12);
    let max = section.take("max_version").and_then(|field| tls_version(reader, &field)).unwrap_or(TlsVersion::Tls13);
    let cipher_suites = section.take("cipher_suites").map(|field| words(reader, field, &CIPHER_SUITES));
    let prefer = section.take("prefer_server_cipher_suites").and_then(|field| reader.boolean(&field));
    let curves = section.take("curve_preferences").map(|field| words(reader, field, &CURVES));
    let path = section.path.clone();
    reader.finish(section);
    if min > max {
        let text = format!("found {}; allowed: at most max_version ({})", min.text(), max.text());
        reader.problem(&key_path(&path, "min_version"), text);
    }
    let client_auth = client_auth.unwrap_or_default();
    match (client_auth, &client_ca) {
        (ClientAuth::None, Found::Some(_)) => {
            let text = "there is a client_ca_file, and no certificate is asked for; allowed: RequireAndVerifyClientCert, \
                        VerifyClientCertIfGiven";
            reader.problem(&key_path(&path, "client_auth_type"), text);
        }
        (ClientAuth::IfGiven | ClientAuth::Required, Found::Nothing) => {
            let text = "missing; allowed: the path of a file in PEM, with the CA that signs clients' certificates";
            reader.problem(&key_path(&path, "client_ca_file"), text);
        }
        _ => {}
    }
    if client_auth == ClientAuth::None && !sans.is_empty() {
        let text = "no certificate of a client's is asked for; allowed: with client_auth_type and client_ca_file";
        reader.problem(&key_path(&path, "client_allowed_sans"), text);
    }
    Some(TlsConfig {
        certificate: certificate.ok()?,
        key: key.ok()?,
        client_auth,
        client_ca: client_ca.ok(),
        client_allowed_sans: sans,
        min_version: min,
        max_version: max,
        cipher_suites: cipher_suites.unwrap_or_default(),
        prefer_server_cipher_suites: prefer.unwrap_or(true),
        curve_preferences: curves.unwrap_or_default(),
    })
}

/// What was found of something in PEM.
enum Found {
    Nothing,
    /// It was said what.
    Wrong,
    Some(Secret),
}

impl Found {
    fn ok(self) -> Option<Secret> {
        match self {
            Self::Some(secret) => Some(secret),
            Self::Nothing | Self::Wrong => None,
        }
    }
}

/// PEM in the file itself, or in one of its own.
fn pem(reader: &mut Reader<'_>, section: &mut Section, key: &'static str, key_file: &'static str) -> Found {
    match (section.take(key), section.take(key_file)) {
        (None, None) => Found::Nothing,
        (Some(field), Some(_)) => {
            reader.problem(&field.path, format_args!("both {key} and {key_file} are there; allowed: one of them"));
            Found::Wrong
        }
        (None, Some(field)) => reader.path(&field).map_or(Found::Wrong, |path| Found::Some(Secret::File(path))),
        (Some(mut field), None) => {
            field.secret = true;
            let allowed = format!("text in PEM of at most {MAX_INLINE_PEM_BYTES} bytes");
            let good = |text: &str| text.contains("-----BEGIN ") && text.len() <= MAX_INLINE_PEM_BYTES;
            let text = reader.parsed(&field, &allowed, |text| good(text).then(|| text.to_owned()));
            text.map_or(Found::Wrong, |text| Found::Some(Secret::Inline(text)))
        }
    }
}

fn client_auth(reader: &mut Reader<'_>, field: &Field) -> Option<ClientAuth> {
    let names = ClientAuth::NAMES.map(|(name, _)| name);
    let unverified = ["RequestClientCert", "RequireClientCert", "RequireAnyClientCert"];
    if matches!(&field.node, Node::Text(text) if unverified.contains(&text.as_str())) {
        reader.refuse(field, format_args!("{} (any other takes certificates of anybody's)", names.join(", ")));
        return None;
    }
    let word = reader.choice(field, &names, &[])?;
    ClientAuth::NAMES.into_iter().find(|(name, _)| *name == word).map(|(_, auth)| auth)
}

fn allowed_sans(reader: &mut Reader<'_>, field: Field) -> Vec<String> {
    let path = field.path.clone();
    let items = reader.list(field).unwrap_or_default();
    // An empty list would let all in where somebody meant nobody.
    if items.is_empty() {
        reader.problem(&path, "found none; allowed: one name at least, or no such key");
    }
    let allowed = "a DNS name, an IP address or a URI (mail addresses are not looked at)";
    let good = |text: &str| !text.is_empty() && (!text.contains('@') || text.contains("://"));
    items.iter().filter_map(|item| reader.parsed(item, allowed, |text| good(text).then(|| text.to_owned()))).collect()
}

/// A list of words that stand for something.
fn words<T: Copy>(reader: &mut Reader<'_>, field: Field, known: &[(&'static str, T)]) -> Vec<T> {
    let names: Vec<_> = known.iter().map(|(name, _)| *name).collect();
    let items = reader.list(field).unwrap_or_default();
    let words = items.iter().filter_map(|item| reader.choice(item, &names, &[]));
    words.filter_map(|word| known.iter().find(|(name, _)| *name == word).map(|(_, value)| *value)).collect()
}

fn http(reader: &mut Reader<'_>, field: Field) -> Vec<(HeaderName, HeaderValue)> {
    let Some(mut section) = reader.section(field) else { return Vec::new() };
    if let Some(field) = section.take("http2")
        && reader.boolean(&field) == Some(true)
    {
        reader.refuse(&field, "false, or no such key (HTTP/1.1 is spoken here, which Prometheus scrapes as well)");
    }
    let headers = section.take("headers").map(|field| headers(reader, field)).unwrap_or_default();
    reader.finish(section);
    headers
}

fn headers(reader: &mut Reader<'_>, field: Field) -> Vec<(HeaderName, HeaderValue)> {
    // In exporter-toolkit's spelling, and what they may say (nothing here = anything).
    let known: [(_, _, &[&str]); 5] = [
        ("Content-Security-Policy", CONTENT_SECURITY_POLICY, &[]),
        ("Strict-Transport-Security", STRICT_TRANSPORT_SECURITY, &[]),
        ("X-Content-Type-Options", X_CONTENT_TYPE_OPTIONS, &["nosniff"]),
        ("X-Frame-Options", X_FRAME_OPTIONS, &["deny", "sameorigin"]),
        ("X-XSS-Protection", X_XSS_PROTECTION, &[]),
    ];
    let Some(mut section) = reader.section(field) else { return Vec::new() };
    let mut headers = Vec::new();
    for (key, name, values) in known {
        let Some(field) = section.take(key) else { continue };
        let allowed = if values.is_empty() { "the text of a header".to_owned() } else { values.join(", ") };
        let good = |text: &str| text.is_empty() || values.is_empty() || values.contains(&text);
        let parse = |text: &str| HeaderValue::from_str(text).ok().filter(|_| good(text));
        // An empty one is none, as with the others.
        headers.extend(
            reader.parsed(&field, &allowed, parse).filter(|value| !value.is_empty()).map(|value| (name, value)),
        );
    }
    reader.finish(section);
    headers
}

fn users(reader: &mut Reader<'_>, mut field: Field) -> BTreeMap<String, PasswordHash> {
    field.secret = true;
    let path = field.path.clone();
    let Some(mut section) = reader.section(field) else { return BTreeMap::new() };
    let entries = section.take_rest();
    if entries.len() > MAX_WEB_USERS {
        reader.problem(&path, format_args!("found {} users; allowed: at most {MAX_WEB_USERS}", entries.len()));
        return BTreeMap::new();
    }
    let mut users = BTreeMap::new();
    for (name, field) in entries {
        if name.is_empty() || name.len() > MAX_USER_BYTES || name.contains([':', '\0']) {
            let allowed = format!("1 to {MAX_USER_BYTES} bytes without colon");
            reader.problem(&field.path, format_args!("not the name of a user; allowed: {allowed}"));
            continue;
        }
        let Some(text) = reader.text(&field, "text, a hash by bcrypt") else { continue };
        match PasswordHash::parse(&text) {
            Ok(hash) => drop(users.insert(name, hash)),
            Err(found) => {
                let text = format!(
                    "found {found}; allowed: one by bcrypt of cost 4 to {MAX_BCRYPT_COST}, as of `htpasswd -nBC 10 ''`"
                );
                reader.problem(&field.path, text);
            }
        }
    }
    users
}
