//! A token endpoint that says what a test wants, once for each time that it is asked.

use super::*;
use crate::{kafka::config_for_tests, model::Secret};
use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener},
    sync::mpsc::{Receiver, sync_channel},
    thread,
};

const TOKEN: &str = r#"{"access_token":"t0ken","token_type":"Bearer","expires_in":300}"#;

/// Answers each request with the next of these (status and headers after `HTTP/1.1 `, body), then no more. Hands over the
/// requests, whole.
fn endpoint(answers: Vec<(&'static str, String)>) -> (SocketAddr, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, requests) = sync_channel(answers.len());
    thread::spawn(move || {
        for (head, body) in answers {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            while !String::from_utf8_lossy(&request).contains("grant_type=client_credentials") {
                let mut piece = [0; 4096];
                let count = stream.read(&mut piece).unwrap();
                assert!(count > 0, "the request broke off");
                request.extend_from_slice(&piece[..count]);
            }
            sender.send(String::from_utf8(request).unwrap()).unwrap();
            let length = body.len();
            // Who has seen enough may be gone.
            write!(stream, "HTTP/1.1 {head}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}").ok();
        }
    });
    (address, requests)
}

fn config(url: &str) -> Config {
    let mut config = config_for_tests("127.0.0.1:1");
    for (name, value) in [
        ("security.protocol", "SASL_PLAINTEXT"),
        ("sasl.mechanism", "OAUTHBEARER"),
        (oauth::METHOD, "oidc"),
        (oauth::CLIENT_ID, "warden"),
        (oauth::CLIENT_SECRET, "hunter2"),
        (oauth::EXTENSIONS, "logicalCluster=lkc-1"),
        (oauth::URL, url),
    ] {
        config.properties.insert(name.to_owned(), Secret::Inline(value.to_owned()));
    }
    config
}

#[track_caller]
fn failure(answer: (&'static str, String)) -> String {
    let (address, _requests) = endpoint(vec![answer]);
    let error = fetch(&config(&format!("http://{address}/token")), &Stop::new()).expect_err("no token").chain();
    assert!(!error.contains("hunter2") && !error.contains("t0ken"), "{error}");
    error
}

#[test]
fn a_token_is_fetched_once_and_given_to_all_handles() {
    let (address, requests) = endpoint(vec![("200 OK", TOKEN.to_owned())]);
    let config = config(&format!("http://{address}/token?a=b"));
    let (keeper, metrics, stop) = (Keeper::default(), SelfMetrics::default(), Stop::new());
    let early = Arc::new(client::requests(&config, &Arc::default()).expect("handle"));
    keeper.adopt(&early);
    assert!(keeper.missing().expect("none yet").contains("waiting"));
    let wait = keeper.turn(&config, &metrics, &stop);
    assert!(wait > Duration::from_secs(200) && wait <= Duration::from_mins(4), "{wait:?}");
    assert_eq!((keeper.missing(), keeper.trouble()), (None, None));
    assert_eq!(metrics.value(&families::KAFKA_TOKENS, &["fetched"]), Some(1.0));
    // Not asked again.
    assert!(!keeper.turn(&config, &metrics, &stop).is_zero());
    keeper.adopt(&Arc::new(client::admin(&config, &Arc::default()).expect("handle")));
    let request = requests.recv().unwrap();
    assert!(request.starts_with("POST /token?a=b HTTP/1.1\r\n"), "{request}");
    assert!(request.contains("\r\nauthorization: Basic d2FyZGVuOmh1bnRlcjI=\r\n"), "{request}");
    assert!(request.ends_with("\r\n\r\ngrant_type=client_credentials"), "{request}");
}

#[test]
fn librdkafka_takes_tokens_with_extensions_and_says_nothing_of_those_that_it_refuses() {
    let handle = client::requests(&config("http://127.0.0.1:1/"), &Arc::default()).expect("handle");
    let request = TokenRequest::read(|name| client::property(&config("http://127.0.0.1:1/"), name)).expect("request");
    let token = request.token(200, TOKEN.as_bytes(), clock::now()).expect("token");
    let expires = i64::try_from(token.expires().0).unwrap();
    assert_eq!(ffi::set_token(handle.client(), &token, expires), Ok(()));
    // Expired; or not for this mechanism.
    let fault = ffi::set_token(handle.client(), &token, 1).expect_err("refused");
    assert!(!fault.text.contains("t0ken"), "{}", fault.text);
    let plain = client::requests(&config_for_tests("127.0.0.1:1"), &Arc::default()).expect("handle");
    assert!(ffi::set_token(plain.client(), &token, expires).is_err());
}

#[test]
fn what_is_wrong_with_the_endpoint_is_named_and_what_was_sent_is_not() {
    let (denied, moved) =
        (r#"{"error":"invalid_client","hint":"hunter2"}"#, "302 Found\r\nLocation: http://127.0.0.1:1/");
    assert!(failure(("401 Unauthorized", denied.to_owned())).contains(oauth::CLIENT_SECRET));
    assert!(failure((moved, String::new())).contains("redirects are not followed"));
    assert!(failure(("200 OK", "<html>t0ken".to_owned())).contains("without an access_token"));
    assert!(failure(("200 OK", "x".repeat(MAX_ANSWER + 1))).contains("broke off, or has more than"));
    assert!(failure(("500 Oops", String::new())).contains("500"));
    let nobody = fetch(&config("http://127.0.0.1:1/token"), &Stop::new()).expect_err("nobody there").chain();
    assert!(nobody.contains(oauth::URL) && nobody.contains("refused"), "{nobody}");
}

#[test]
fn after_failures_it_is_asked_more_and_more_seldom_and_after_a_success_in_time() {
    let (address, _requests) = endpoint(vec![("503 Later", String::new()), ("200 OK", TOKEN.to_owned())]);
    let config = config(&format!("http://{address}/token"));
    let (keeper, metrics, stop) = (Keeper::default(), SelfMetrics::default(), Stop::new());
    let wait = keeper.turn(&config, &metrics, &stop);
    assert!(!wait.is_zero() && wait <= FIRST_RETRY, "{wait:?}");
    assert!(keeper.missing().expect("none").contains("503") && keeper.trouble().is_some());
    assert_eq!(metrics.value(&families::TARGET_ERRORS, &["token", KAFKA_TARGET]), Some(1.0));
    keeper.lock().next = None;
    assert!(keeper.turn(&config, &metrics, &stop) > LONGEST_RETRY);
    assert_eq!((keeper.missing(), keeper.trouble()), (None, None));
    assert_eq!([0, 1, 2, 5, 99].map(retry_after), [1, 2, 4, 30, 30].map(Duration::from_secs));
}

#[test]
fn a_stop_is_not_held_up() {
    // Accepts, and never answers.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let config = config(&format!("http://{}/", listener.local_addr().unwrap()));
    let stop = Stop::new();
    stop.stop();
    assert!(Keeper::default().turn(&config, &SelfMetrics::default(), &stop).is_zero());
}
