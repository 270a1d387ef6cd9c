//! URLs of pages and notifiers. One that holds credentials is refused, and not shown.

use super::{
    read::{Field, Reader},
    yaml::Node,
};
use hyper::Uri;

/// Longest URL, in bytes.
pub const MAX_URL_BYTES: usize = 2048;

/// A URL with a host, of one of `schemes`; never with credentials, since it is shown on pages and in logs.
pub(super) fn url(reader: &mut Reader<'_>, mut field: Field, schemes: &[&str], allowed: &str) -> Option<Uri> {
    if matches!(&field.node, Node::Text(text) if text.contains('@')) {
        field.secret = true;
    }
    reader.parsed(&field, &format!("{allowed}, without credentials"), |text| parse(text, schemes))
}

/// Is `text` a URL that [`url`] would take with both schemes?
pub(super) fn is_http_url(text: &str) -> bool {
    parse(text, &["http", "https"]).is_some()
}

fn parse(text: &str, schemes: &[&str]) -> Option<Uri> {
    if text.len() > MAX_URL_BYTES {
        return None;
    }
    let url: Uri = text.parse().ok()?;
    let authority = url.authority()?;
    // The parser takes ports that are no numbers.
    let port_ok = authority.as_str() == authority.host() || authority.port_u16().is_some_and(|port| port > 0);
    let good = url.scheme_str().is_some_and(|scheme| schemes.contains(&scheme))
        && !authority.host().is_empty()
        && !authority.as_str().contains('@')
        && port_ok;
    good.then_some(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_urls_without_credentials() {
        for good in ["http://localhost:9094/metrics", "https://a.b/c?d=e", "http://[::1]:1", "http://10.0.0.1"] {
            assert!(is_http_url(good), "{good}");
        }
        let long = format!("http://a/{}", "x".repeat(MAX_URL_BYTES));
        for bad in [
            "",
            "localhost:9094",
            "/metrics",
            "ftp://a/",
            "http://",
            "http://:80/",
            "http://a:b/",
            "http://a:99999/",
            "http://a:0",
            "http://user:pass@a/",
            "http://a b/",
            &long,
        ] {
            assert!(!is_http_url(bad), "{bad}");
        }
    }
}
