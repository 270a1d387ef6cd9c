//! OAUTHBEARER by client credentials (RFC 6749, 4.4), under librdkafka's own names of properties: what the token endpoint
//! is asked, and what its answer means. Pure; `tokens` does the asking.

use super::{client::ClientError, tls::Trust};
use crate::model::Timestamp;
use hyper::Uri;
use serde_json::Value;
use std::{
    fmt::{self, Write as _},
    path::PathBuf,
    time::Duration,
};

/// Properties that librdkafka documents for this (but for `header.urlencode`, which is Kafka's own). Ours to act on: our
/// build of librdkafka has no libcurl, and refuses them.
pub const PROPERTIES: [&str; 12] = [
    "https.ca.location",
    "https.ca.pem",
    CLIENT_ID_ALIAS,
    CLIENT_SECRET_ALIAS,
    CLIENT_ID,
    CLIENT_SECRET,
    EXTENSIONS,
    GRANT_TYPE,
    URLENCODE,
    METHOD,
    SCOPE,
    URL,
];

pub const CLIENT_ID: &str = "sasl.oauthbearer.client.id";
pub const CLIENT_ID_ALIAS: &str = "sasl.oauthbearer.client.credentials.client.id";
pub const CLIENT_SECRET: &str = "sasl.oauthbearer.client.secret";
pub const CLIENT_SECRET_ALIAS: &str = "sasl.oauthbearer.client.credentials.client.secret";
pub const EXTENSIONS: &str = "sasl.oauthbearer.extensions";
pub const GRANT_TYPE: &str = "sasl.oauthbearer.grant.type";
pub const METHOD: &str = "sasl.oauthbearer.method";
pub const SCOPE: &str = "sasl.oauthbearer.scope";
pub const URL: &str = "sasl.oauthbearer.token.endpoint.url";
pub const URLENCODE: &str = "sasl.oauthbearer.header.urlencode";

/// A token counts for this long at most, whatever it says.
pub const LONGEST_LIFE: Duration = Duration::from_hours(24);

/// Codes of RFC 6749 (5.2, and 4.1.2.1 for the rest): no other text of an answer is shown, since it may repeat what was
/// sent.
const CODES: [&str; 9] = [
    "access_denied",
    "invalid_client",
    "invalid_grant",
    "invalid_request",
    "invalid_scope",
    "server_error",
    "temporarily_unavailable",
    "unauthorized_client",
    "unsupported_grant_type",
];

/// What is asked of the token endpoint. Has no Debug: it holds the secret.
pub struct TokenRequest {
    /// Where.
    pub url: Uri,
    /// Whose certificates the endpoint's may come from.
    pub trust: Trust,
    id: String,
    secret: String,
    scope: Option<String>,
    extensions: Vec<(String, String)>,
    encoded: bool,
}

impl TokenRequest {
    /// From properties, each of which `value` reads.
    ///
    /// # Errors
    /// When one cannot be read, is missing or makes no sense.
    pub fn read(value: impl Fn(&'static str) -> Result<Option<String>, ClientError>) -> Result<Self, ClientError> {
        let wrong =
            |property: &str, problem: &'static str| ClientError::Property { property: property.into(), problem };
        let either = |name, alias| value(name)?.map_or_else(|| value(alias), |value| Ok(Some(value)));
        let id = either(CLIENT_ID, CLIENT_ID_ALIAS)?.ok_or_else(|| wrong(CLIENT_ID, MISSING))?;
        let secret = either(CLIENT_SECRET, CLIENT_SECRET_ALIAS)?.ok_or_else(|| wrong(CLIENT_SECRET, MISSING))?;
        let url = value(URL)?.ok_or_else(|| wrong(URL, MISSING))?;
        let extensions = value(EXTENSIONS)?.unwrap_or_default();
        let encoded = value(URLENCODE)?.unwrap_or_else(|| "true".to_owned());
        let trust = match (value("https.ca.pem")?, value("https.ca.location")?) {
            (Some(pem), _) => Trust::Pem(pem),
            (None, Some(path)) if path != "probe" => Trust::File(PathBuf::from(path)),
            _ => Trust::System,
        };
        Ok(Self {
            url: parse_url(&url).ok_or_else(|| wrong(URL, BAD_URL))?,
            trust,
            id,
            secret,
            scope: value(SCOPE)?.filter(|scope| !scope.is_empty()),
            extensions: parse_extensions(&extensions).ok_or_else(|| wrong(EXTENSIONS, BAD_EXTENSIONS))?,
            encoded: parse_bool(&encoded).ok_or_else(|| wrong(URLENCODE, BAD_BOOL))?,
        })
    }

    /// The value of the header `Authorization`.
    pub fn authorization(&self) -> String {
        let encode = |text: &str| if self.encoded { percent(text) } else { text.to_owned() };
        format!("Basic {}", base64(format!("{}:{}", encode(&self.id), encode(&self.secret)).as_bytes()))
    }

    /// The body, a form.
    pub fn body(&self) -> String {
        let scope = self.scope.as_ref().map(|scope| format!("&scope={}", percent(scope)));
        format!("grant_type=client_credentials{}", scope.unwrap_or_default())
    }

    /// The token in an answer.
    ///
    /// # Errors
    /// When there is none, or none that can be used.
    pub fn token(&self, status: u16, body: &[u8], now: Timestamp) -> Result<Token, AnswerError> {
        let answer: Value = serde_json::from_slice(body).unwrap_or_default();
        match status {
            200..=299 => {}
            300..=399 => return Err(AnswerError::Redirect(status)),
            _ => {
                let said = answer.get("error").and_then(Value::as_str);
                let code = CODES.into_iter().find(|code| said == Some(*code));
                return Err(AnswerError::Refused(Refusal(status, code)));
            }
        }
        let value = answer.get("access_token").and_then(Value::as_str).filter(|token| !token.is_empty());
        let value = value.ok_or(AnswerError::NoToken)?;
        // librdkafka would repeat one that it does not like.
        if !value.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(AnswerError::NoToken);
        }
        // The first goes by a duration, the second by the issuer's clock.
        let stated = answer.get("expires_in").and_then(duration).map(|lives| now.plus(lives));
        let claimed = expiry_claim(value);
        let expires = stated.into_iter().chain(claimed).min().ok_or(AnswerError::NoExpiry)?;
        if expires <= now {
            return Err(AnswerError::Expired);
        }
        Ok(Token {
            value: value.to_owned(),
            principal: self.id.clone(),
            extensions: self.extensions.clone(),
            since: now,
            expires: expires.min(now.plus(LONGEST_LIFE)),
        })
    }
}

/// A token that brokers take until it expires.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    /// As it is sent.
    pub value: String,
    /// The client's id.
    pub principal: String,
    /// Further things that the broker is told.
    pub extensions: Vec<(String, String)>,
    since: Timestamp,
    expires: Timestamp,
}

impl Token {
    /// When it is time for another one: when 80 % of its life are over.
    pub fn refresh_at(&self) -> Timestamp {
        self.since.plus(self.expires.since(self.since).mul_f64(0.8))
    }

    /// When it expires.
    pub fn expires(&self) -> Timestamp {
        self.expires
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "token until {:?}", self.expires)
    }
}

/// What was wrong with an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// Another status than 2xx and 3xx.
    #[error("{0}")]
    Refused(Refusal),
    /// 3xx.
    #[error("the token endpoint answered {0}, and redirects are not followed: mend {URL} in kafka.properties")]
    Redirect(u16),
    /// Not JSON, or not with a token.
    #[error("the token endpoint answered without an access_token that can be used: mend {URL} in kafka.properties")]
    NoToken,
    /// It does not say how long the token lives.
    #[error("the token endpoint gave a token without expires_in, and that has no claim exp")]
    NoExpiry,
    /// It is none any more.
    #[error("the token endpoint gave a token that has expired: look at the clocks of this host and of the issuer's")]
    Expired,
}

/// A status, and the code of the error, if it is one that we know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal(u16, Option<&'static str>);

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(status, code) = *self;
        write!(f, "the token endpoint answered {status}")?;
        if let Some(code) = code {
            write!(f, " ({code})")?;
        }
        match (status, code) {
            (_, Some("invalid_client" | "access_denied")) | (401 | 403, None) => {
                write!(f, ": mend {CLIENT_ID} and {CLIENT_SECRET} in kafka.properties")
            }
            (_, Some("invalid_scope")) => write!(f, ": mend {SCOPE} in kafka.properties"),
            (_, Some("unauthorized_client" | "unsupported_grant_type" | "invalid_grant")) => {
                write!(f, ": let the issuer allow the grant client_credentials to the client of {CLIENT_ID}")
            }
            (408 | 429 | 500.., _) | (_, Some("server_error" | "temporarily_unavailable")) => {
                f.write_str("; it is asked again")
            }
            _ => write!(f, ": mend {URL}, {SCOPE} or {CLIENT_ID} in kafka.properties"),
        }
    }
}

/// What is missing from a property that must be there.
pub const MISSING: &str = "missing, and sasl.oauthbearer.method: oidc needs it";
pub const BAD_URL: &str = "not a URL of http or https with a host and without credentials";
pub const BAD_EXTENSIONS: &str = "not NAME=VALUE[,NAME=VALUE…] with names of letters, none of them `auth`";
pub const BAD_BOOL: &str = "neither true nor false";

/// A URL to post to.
pub fn parse_url(text: &str) -> Option<Uri> {
    let url: Uri = text.parse().ok()?;
    let authority = url.authority()?;
    let host_ok = !authority.host().is_empty() && !authority.as_str().contains('@');
    (host_ok && matches!(url.scheme_str(), Some("http" | "https"))).then_some(url)
}

/// `NAME=VALUE[,NAME=VALUE…]`; what librdkafka would refuse is refused, since its refusal would repeat it.
pub fn parse_extensions(text: &str) -> Option<Vec<(String, String)>> {
    let pairs = text.split(',').map(str::trim).filter(|pair| !pair.is_empty());
    let extension = |pair: &str| {
        let (name, value) = pair.split_once('=')?;
        let name_ok = !name.is_empty() && name != "auth" && name.bytes().all(|byte| byte.is_ascii_alphabetic());
        let value_ok = value.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
        (name_ok && value_ok).then(|| (name.to_owned(), value.to_owned()))
    };
    pairs.map(extension).collect()
}

/// As librdkafka reads it.
pub fn parse_bool(text: &str) -> Option<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "t" | "1" => Some(true),
        "false" | "f" | "0" => Some(false),
        _ => None,
    }
}

/// Seconds, as a number or (as some issuers have it) as text.
fn duration(value: &Value) -> Option<Duration> {
    let seconds = value.as_f64().or_else(|| value.as_str()?.trim().parse().ok())?;
    Duration::try_from_secs_f64(seconds).ok()
}

/// The claim `exp` of a token, if it is a JWT. Whether it is signed is for the broker to judge.
fn expiry_claim(token: &str) -> Option<Timestamp> {
    let claims: Value = serde_json::from_slice(&from_base64url(token.split('.').nth(1)?)?).ok()?;
    claims.get("exp").and_then(duration).map(|since_epoch| Timestamp(0).plus(since_epoch))
}

/// All but what needs no encoding anywhere: so it reads the same to who decodes forms and to who decodes URLs.
fn percent(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            write!(encoded, "%{byte:02X}").ok(); // a String takes all
        }
    }
    encoded
}

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

fn base64(bytes: &[u8]) -> String {
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let at = |place: usize| u32::from(three.get(place).copied().unwrap_or(0));
        let bits = (at(0) << 16) | (at(1) << 8) | at(2);
        for (place, shift) in [18, 12, 6, 0].into_iter().enumerate() {
            let digit = usize::try_from((bits >> shift) & 63).ok().and_then(|index| BASE64.get(index));
            let digit = digit.filter(|_| place <= three.len()).copied().unwrap_or(b'=');
            text.push(char::from(digit));
        }
    }
    text
}

fn from_base64url(text: &str) -> Option<Vec<u8>> {
    let (mut bits, mut count) = (0_u32, 0_u32);
    let mut bytes = Vec::new();
    for digit in text.trim_end_matches('=').bytes() {
        let digit = match digit {
            b'-' => b'+',
            b'_' => b'/',
            digit => digit,
        };
        let value = BASE64.iter().position(|known| *known == digit)?;
        bits = ((bits << 6) | u32::try_from(value).ok()?) & 0xffff;
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from((bits >> count) & 0xff).ok()?);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    fn request(further: &[(&'static str, &str)]) -> Result<TokenRequest, String> {
        let mut values = HashMap::from([
            (CLIENT_ID, "warden"),
            (CLIENT_SECRET_ALIAS, "s3cr3t+/ä~"),
            (URL, "https://issuer.example/token"),
        ]);
        values.extend(further.iter().copied());
        let value = |name| Ok(values.get(name).filter(|value| **value != "-").map(|value| (*value).to_owned()));
        TokenRequest::read(value).map_err(|error| error.to_string())
    }

    #[track_caller]
    fn good(further: &[(&'static str, &str)]) -> TokenRequest {
        request(further).unwrap_or_else(|error| panic!("{error}"))
    }

    fn unsecured(claims: &str) -> String {
        let part = |text: &str| base64(text.as_bytes()).trim_end_matches('=').replace('+', "-").replace('/', "_");
        format!("{}.{}.", part(r#"{"alg":"none"}"#), part(claims))
    }

    #[test]
    fn base64_is_that_of_rfc_4648() {
        for (plain, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")] {
            assert_eq!(base64(plain.as_bytes()), text);
            assert_eq!(from_base64url(text).as_deref(), Some(plain.as_bytes()));
        }
        assert_eq!(base64(&[0xfb, 0xff, 0xfe]), "+//+");
        assert_eq!(from_base64url("-__-"), Some(vec![0xfb, 0xff, 0xfe]));
        assert_eq!(from_base64url("a b"), None);
    }

    #[test]
    fn the_request_is_that_of_rfc_6749() {
        let plain = good(&[]);
        assert_eq!(plain.authorization(), format!("Basic {}", base64(b"warden:s3cr3t%2B%2F%C3%A4~")));
        assert_eq!(plain.body(), "grant_type=client_credentials");
        let raw = good(&[(URLENCODE, "false"), (SCOPE, "kafka read&write")]);
        assert_eq!(raw.authorization(), format!("Basic {}", base64("warden:s3cr3t+/ä~".as_bytes())));
        assert_eq!(raw.body(), "grant_type=client_credentials&scope=kafka%20read%26write");
    }

    #[test]
    fn what_makes_no_sense_is_named_and_not_shown() {
        for (property, value) in [
            (CLIENT_ID, "-"),
            (CLIENT_SECRET_ALIAS, "-"),
            (URL, "-"),
            (URL, "issuer/token"),
            (URL, "ftp://issuer/t0ken"),
            (URL, "https://user:hunter2@issuer/token"),
            (EXTENSIONS, "logical-cluster=hunter2"),
            (EXTENSIONS, "auth=hunter2"),
            (URLENCODE, "hunter2"),
        ] {
            let error = request(&[(property, value)]).err().expect("refused");
            let named = if property == CLIENT_SECRET_ALIAS { CLIENT_SECRET } else { property };
            assert!(error.contains(named) && !error.contains("hunter2") && !error.contains("t0ken"), "{error}");
        }
    }

    #[test]
    fn a_token_lives_as_long_as_both_say() {
        let now = Timestamp(1_000_000_000);
        let request = good(&[(EXTENSIONS, "logicalCluster=lkc-1, identityPoolId=pool-2")]);
        let ends = |body: String| request.token(200, body.as_bytes(), now).map(|token| token.expires().since(now));
        let jwt = unsecured(r#"{"sub":"warden","exp":1000060.5}"#);
        let seconds = Duration::from_secs_f64;
        assert_eq!(ends(r#"{"access_token":"opaque","expires_in":300}"#.into()), Ok(seconds(300.0)));
        assert_eq!(ends(r#"{"access_token":"opaque","expires_in":"300"}"#.into()), Ok(seconds(300.0)));
        assert_eq!(ends(format!(r#"{{"access_token":"{jwt}"}}"#)), Ok(seconds(60.5)));
        assert_eq!(ends(format!(r#"{{"access_token":"{jwt}","expires_in":300}}"#)), Ok(seconds(60.5)));
        assert_eq!(ends(format!(r#"{{"access_token":"{jwt}","expires_in":30}}"#)), Ok(seconds(30.0)));
        assert_eq!(ends(r#"{"access_token":"a","expires_in":1e12}"#.into()), Ok(LONGEST_LIFE));
        assert_eq!(ends(r#"{"access_token":"a","expires_in":0}"#.into()), Err(AnswerError::Expired));
        assert_eq!(ends(r#"{"access_token":"a","expires_in":-1}"#.into()), Err(AnswerError::NoExpiry));
        assert_eq!(ends(r#"{"access_token":"a"}"#.into()), Err(AnswerError::NoExpiry));
        for none in
            ["", "{}", "<html>", r#"{"access_token":1,"expires_in":1}"#, r#"{"access_token":"a b","expires_in":1}"#]
        {
            assert_eq!(ends(none.into()), Err(AnswerError::NoToken), "{none}");
        }
        let token = request.token(200, br#"{"access_token":"opaque","expires_in":100}"#, now).expect("a token");
        assert_eq!(token.refresh_at().since(now), seconds(80.0));
        assert_eq!(
            token.extensions,
            [("logicalCluster".into(), "lkc-1".into()), ("identityPoolId".into(), "pool-2".into())]
        );
        assert!(!format!("{token:?}").contains("opaque"));
    }

    #[test]
    fn a_refusal_names_what_to_mend_and_repeats_nothing() {
        let request = good(&[]);
        for (status, body, words) in [
            (401, r#"{"error":"invalid_client","error_description":"hunter2"}"#, &["401", CLIENT_SECRET][..]),
            (401, "", &[CLIENT_ID, CLIENT_SECRET]),
            (400, r#"{"error":"invalid_scope"}"#, &["invalid_scope", SCOPE]),
            (400, r#"{"error":"unauthorized_client"}"#, &["client_credentials"]),
            (400, r#"{"error":"hunter2"}"#, &[URL]),
            (404, "hunter2", &["404", URL]),
            (302, "", &["redirects are not followed", URL]),
            (503, "", &["503", "asked again"]),
        ] {
            let error = request.token(status, body.as_bytes(), Timestamp(0)).expect_err("refused").to_string();
            assert!(words.iter().all(|word| error.contains(word)) && !error.contains("hunter2"), "{error}");
        }
    }
}
