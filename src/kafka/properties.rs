//! What is wrong with properties that go together, before a handle is made: so that `check` knows. Pure. Values in files
//! are not looked at.

use super::oauth;
use crate::model::Secret;
use std::collections::BTreeMap;

const MECHANISM: &str = "sasl.mechanism";

/// Problems by property.
pub fn problems(properties: &BTreeMap<String, Secret>) -> Vec<(String, String)> {
    let inline = |name: &str| match properties.get(name) {
        Some(Secret::Inline(value)) => Some(value.as_str()),
        Some(Secret::File(_)) | None => None,
    };
    let given = |name: &str| properties.contains_key(name);
    let mut problems = Vec::new();
    let mut problem = |name: &str, text: &str| problems.push((name.to_owned(), text.to_owned()));

    let sasl = inline("security.protocol").is_some_and(|value| value.to_ascii_lowercase().starts_with("sasl_"));
    let named = if given("sasl.mechanisms") { "sasl.mechanisms" } else { MECHANISM };
    let mechanism = inline(named);
    let kerberos = cfg!(feature = "kerberos");
    if sasl && !given(named) && !kerberos {
        problem(
            "security.protocol",
            "SASL needs sasl.mechanism, such as SCRAM-SHA-512 (the default, GSSAPI, needs a build with the feature kerberos)",
        );
    }
    if mechanism == Some("GSSAPI") && !kerberos {
        problem(named, "GSSAPI needs a build with the feature kerberos");
    }

    let method = inline(oauth::METHOD).map(str::to_ascii_lowercase);
    let oidc = method.as_deref() == Some("oidc");
    if !oidc {
        if method.is_some_and(|method| method != "default") {
            problem(oauth::METHOD, "neither oidc nor default");
        }
        let idle = |name: &&&str| **name != oauth::METHOD && given(name);
        let method_in_file = given(oauth::METHOD) && inline(oauth::METHOD).is_none();
        if let (Some(name), false) = (oauth::PROPERTIES.iter().find(idle), method_in_file) {
            problem(name, "only with sasl.oauthbearer.method: oidc");
        }
        let unsecured = inline("enable.sasl.oauthbearer.unsecure.jwt").and_then(oauth::parse_bool) == Some(true);
        if sasl && mechanism == Some("OAUTHBEARER") && !unsecured && !given(oauth::METHOD) {
            problem(named, "OAUTHBEARER needs sasl.oauthbearer.method: oidc, and where to get tokens");
        }
        return problems;
    }
    for (name, alias) in [
        (oauth::CLIENT_ID, oauth::CLIENT_ID_ALIAS),
        (oauth::CLIENT_SECRET, oauth::CLIENT_SECRET_ALIAS),
        (oauth::URL, oauth::URL),
    ] {
        if !given(name) && !given(alias) {
            problem(name, oauth::MISSING);
        } else if name != alias && given(name) && given(alias) {
            problem(alias, &format!("both it and {name} are there; allowed: one of them"));
        }
    }
    if given("https.ca.location") && given("https.ca.pem") {
        problem("https.ca.pem", "both it and https.ca.location are there; allowed: one of them");
    }
    if inline(oauth::URL).is_some_and(|url| oauth::parse_url(url).is_none()) {
        problem(oauth::URL, oauth::BAD_URL);
    }
    if inline(oauth::EXTENSIONS).is_some_and(|text| oauth::parse_extensions(text).is_none()) {
        problem(oauth::EXTENSIONS, oauth::BAD_EXTENSIONS);
    }
    if inline(oauth::URLENCODE).is_some_and(|text| oauth::parse_bool(text).is_none()) {
        problem(oauth::URLENCODE, oauth::BAD_BOOL);
    }
    if inline(oauth::GRANT_TYPE).is_some_and(|grant| grant != "client_credentials") {
        problem(oauth::GRANT_TYPE, "not supported; allowed: client_credentials");
    }
    let others = ["sasl.oauthbearer.assertion.", "sasl.oauthbearer.metadata."];
    if let Some(name) = properties.keys().find(|name| others.iter().any(|other| name.starts_with(other))) {
        problem(name, "not supported: tokens are fetched by client credentials only");
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    const OIDC: &str = "security.protocol=SASL_SSL sasl.mechanism=OAUTHBEARER sasl.oauthbearer.method=OIDC \
        sasl.oauthbearer.client.id=warden sasl.oauthbearer.client.secret=@/run/secret \
        sasl.oauthbearer.token.endpoint.url=https://issuer/token";

    /// `NAME=VALUE …`; `@` begins a path. The names that there are problems with.
    fn check(text: &str) -> String {
        let property = |text: &str| {
            let (name, value) = text.split_once('=').expect("NAME=VALUE");
            let file = value.strip_prefix('@').map(|path| Secret::File(path.into()));
            (name.to_owned(), file.unwrap_or_else(|| Secret::Inline(value.to_owned())))
        };
        let found = problems(&text.split_whitespace().map(property).collect());
        found.into_iter().map(|(name, _)| name).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn what_fits_together_is_fine() {
        for good in [
            "",
            "security.protocol=SSL ssl.ca.location=/ca.pem",
            "security.protocol=SASL_PLAINTEXT sasl.mechanisms=PLAIN sasl.username=a sasl.password=@/b",
            "security.protocol=sasl_ssl sasl.mechanism=@/mechanism",
            "security.protocol=SASL_SSL sasl.mechanism=OAUTHBEARER enable.sasl.oauthbearer.unsecure.jwt=true",
            OIDC,
            &format!("{OIDC} sasl.oauthbearer.extensions=a=b,c=d sasl.oauthbearer.grant.type=client_credentials"),
        ] {
            assert_eq!(check(good), "", "{good}");
        }
    }

    #[test]
    fn what_does_not_is_named() {
        let without = |name: &str| {
            let kept = OIDC.split_whitespace().filter(|property| !property.starts_with(name));
            kept.collect::<Vec<_>>().join(" ")
        };
        for (bad, named) in [
            ("security.protocol=SASL_SSL sasl.mechanism=OAUTHBEARER".to_owned(), MECHANISM),
            ("sasl.oauthbearer.client.id=a".to_owned(), oauth::CLIENT_ID),
            ("sasl.oauthbearer.method=magic".to_owned(), oauth::METHOD),
            (without(oauth::CLIENT_ID), oauth::CLIENT_ID),
            (without(oauth::CLIENT_SECRET), oauth::CLIENT_SECRET),
            (without(oauth::URL), oauth::URL),
            (format!("{OIDC} {}=a", oauth::CLIENT_SECRET_ALIAS), oauth::CLIENT_SECRET_ALIAS),
            (format!("{} {}=issuer", without(oauth::URL), oauth::URL), oauth::URL),
            (format!("{OIDC} https.ca.location=/a https.ca.pem=b"), "https.ca.pem"),
            (format!("{OIDC} {}=a-b=c", oauth::EXTENSIONS), oauth::EXTENSIONS),
            (format!("{OIDC} {}=maybe", oauth::URLENCODE), oauth::URLENCODE),
            (format!("{OIDC} {}=urn:ietf:params:oauth:grant-type:jwt-bearer", oauth::GRANT_TYPE), oauth::GRANT_TYPE),
            (format!("{OIDC} sasl.oauthbearer.assertion.file=/a"), "sasl.oauthbearer.assertion.file"),
        ] {
            assert_eq!(check(&bad), named, "{bad}");
        }
        if !cfg!(feature = "kerberos") {
            assert_eq!(check("security.protocol=SASL_SSL"), "security.protocol");
            assert_eq!(check("security.protocol=SASL_SSL sasl.mechanism=GSSAPI"), MECHANISM);
        }
    }
}
