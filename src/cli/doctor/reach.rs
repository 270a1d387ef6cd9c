//! Whom the agent can reach: connections with deadlines, and one GET for each JMX page.

use super::{
    finding::Finding,
    places::{self, Address},
    skew,
};
use crate::{
    client::Login,
    clock,
    deliver::MAX_SECRET_FILE,
    files, jmx, kafka,
    model::{Secret, with_causes},
};
use bytes::Bytes;
use http_body_util::Empty;
use hyper::{Request, StatusCode, Uri, body::Incoming, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use std::time::Duration;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;

/// Longest wait for a connection, and for a broker's answer after that.
const DEADLINE: Duration = Duration::from_secs(5);

/// Each bootstrap server: a connection, then TLS, login and metadata as a running agent would.
pub(super) async fn brokers(config: &kafka::Config) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (host, port) in places::servers(&config.bootstrap_servers) {
        let about = format!("kafka {host}:{port}");
        if let Err(error) = connect(&host, port).await {
            findings.push(Finding::fail(
                about,
                error,
                "is the broker up, and is this one of its listeners? mend kafka.bootstrap_servers",
            ));
            continue;
        }
        let host = if host.contains(':') { format!("[{host}]") } else { host };
        let one = kafka::Config { bootstrap_servers: format!("{host}:{port}"), ..config.clone() };
        // It waits, and nothing else runs meanwhile.
        match kafka::probe(&one, DEADLINE) {
            Ok(None) => findings.push(Finding::warn(
                about,
                "connected, and no login tried: tokens are fetched by a running agent",
                "look at its /-/ready",
            )),
            Ok(Some(probed)) => {
                findings.push(Finding::ok(&about, format!("lets us in (brokers that it knows: {})", probed.brokers)));
                findings.push(offsets_topic(about, &probed.offsets_topic));
            }
            Err(error) => findings.push(Finding::fail(
                about,
                format!("connected, and no metadata within {DEADLINE:?}: {error}"),
                "mend kafka.properties (security.protocol, sasl.*, ssl.*)",
            )),
        }
    }
    findings
}

fn offsets_topic(about: String, found: &kafka::OffsetsTopic) -> Finding {
    match found {
        kafka::OffsetsTopic::Described => Finding::ok(about, "we may DESCRIBE __consumer_offsets"),
        kafka::OffsetsTopic::Missing => Finding::ok(about, "there is no __consumer_offsets yet: nobody ever committed"),
        kafka::OffsetsTopic::Refused => Finding::warn(
            about,
            "we may not DESCRIBE __consumer_offsets: groups are asked for one by one, which costs more requests",
            "kafka-acls --bootstrap-server … --add --allow-principal User:… --operation READ --operation DESCRIBE --topic \
             __consumer_offsets",
        ),
        kafka::OffsetsTopic::Unclear(code) => {
            Finding::warn(about, format!("of __consumer_offsets the broker says {code}"), "look again in a minute")
        }
    }
}

/// Each JMX page, by one GET of which only the head is read; and what its clock says.
pub(super) async fn page(config: &jmx::Config) -> Vec<Finding> {
    let about = format!("jmx {}", config.name);
    let before = clock::now();
    let answer = timeout(config.timeout, get(config)).await;
    let after = clock::now();
    match answer {
        Err(_) => vec![Finding::fail(
            about,
            format!("no answer within {:?}", config.timeout),
            "is the exporter overloaded? raise jmx[].timeout, or let it export fewer MBeans",
        )],
        Ok(Err(error)) => vec![Finding::fail(about, error, "is the exporter up at jmx[].url, and do its keys fit?")],
        Ok(Ok((StatusCode::OK, date))) => {
            let mut findings = vec![Finding::ok(&about, "answers")];
            findings.extend(date.and_then(|date| skew::judge(&about, &date, before, after)));
            findings
        }
        Ok(Ok((status, _))) => {
            let found = format!("answers with status {}", status.as_u16());
            vec![Finding::fail(about, found, "mend jmx[].url, basic_auth or authorization")]
        }
    }
}

/// Status and Date of the answer.
async fn get(config: &jmx::Config) -> Result<(StatusCode, Option<String>), String> {
    let Address::At(host, port) = places::at(&config.url) else { return Err("no host in the URL".to_owned()) };
    let authorization = config.login.as_ref().map(Login::authorization).transpose();
    let authorization = authorization.map_err(|error| with_causes(&error))?;
    let stream = connect(&host, port).await?;
    let response = if config.url.scheme_str() == Some("https") {
        let tls = config.tls.client_config().map_err(|error| with_causes(&error))?;
        let name = config.tls.name(&host).map_err(|error| with_causes(&error))?;
        let stream = timeout(DEADLINE, TlsConnector::from(tls).connect(name, stream)).await;
        let stream = stream.map_err(|_| format!("connected, and no TLS within {DEADLINE:?}"))?;
        ask(stream.map_err(|error| with_causes(&error))?, &config.url, authorization).await?
    } else {
        ask(stream, &config.url, authorization).await?
    };
    let date = response.headers().get(header::DATE).and_then(|date| date.to_str().ok()).map(str::to_owned);
    Ok((response.status(), date))
}

async fn ask(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin,
    url: &Uri,
    authorization: Option<header::HeaderValue>,
) -> Result<hyper::Response<Incoming>, String> {
    let authority = url.authority().map_or("", |authority| authority.as_str());
    let mut request = Request::get(url.path_and_query().map_or("/", |path| path.as_str()))
        .header(header::HOST, authority.rsplit('@').next().unwrap_or_default())
        .header(header::CONNECTION, "close")
        .header(header::USER_AGENT, concat!("brokerwarden/", env!("CARGO_PKG_VERSION")))
        .body(Empty::<Bytes>::new())
        .map_err(|_| "no request can be made of the URL".to_owned())?;
    request.headers_mut().extend(authorization.map(|value| (header::AUTHORIZATION, value)));
    let mut builder = http1::Builder::new();
    builder.max_buf_size(jmx::MAX_HEADER_BYTES);
    let handshake = builder.handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(|error| with_causes(&error))?;
    let drive = async {
        // Its errors reach the answer as well.
        drop(connection.await);
        std::future::pending().await
    };
    tokio::select! {
        response = sender.send_request(request) => response.map_err(|error| with_causes(&error)),
        never = drive => never,
    }
}

/// Is a receiver there? Says nothing of what it would answer.
pub(super) async fn receiver(about: &str, address: &Address) -> Finding {
    let (host, port) = match located(address) {
        Ok(found) => found,
        Err(error) => return Finding::fail(about, error, "write the receiver's URL there"),
    };
    match connect(&host, port).await {
        Ok(_) => Finding::ok(about, format!("{host}:{port} can be connected to")),
        Err(error) => Finding::fail(
            about,
            format!("{host}:{port}: {error}"),
            "is it up, and does a firewall let us through? `brokerwarden notify test NAME` tries a notifier whole",
        ),
    }
}

/// Host and port. An error never shows a URL: it is a secret.
fn located(address: &Address) -> Result<(String, u16), String> {
    let url = match address {
        Address::At(host, port) => return Ok((host.clone(), *port)),
        Address::Url(Secret::Inline(url)) => url.clone(),
        Address::Url(Secret::File(path)) => files::read_secret(path, MAX_SECRET_FILE)
            .map_err(|error| format!("cannot read {} ({error})", path.display()))?,
    };
    match url.parse::<Uri>().map(|url| places::at(&url)) {
        Ok(Address::At(host, port)) if !host.is_empty() => Ok((host, port)),
        _ => Err("not a URL with a host".to_owned()),
    }
}

async fn connect(host: &str, port: u16) -> Result<TcpStream, String> {
    match timeout(DEADLINE, TcpStream::connect((host, port))).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(format!("no connection ({error})")),
        Err(_) => Err(format!("no connection within {DEADLINE:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::finding::Level, *};
    use std::{
        io::{Read, Write},
        sync::Arc,
    };

    /// A server that answers one request with `answer`.
    fn server(answer: &'static str) -> (u16, std::thread::JoinHandle<String>) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let served = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 1024];
            let read = stream.read(&mut request).unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
            String::from_utf8_lossy(&request[..read]).into_owned()
        });
        (port, served)
    }

    fn jmx(port: u16) -> jmx::Config {
        jmx::Config {
            name: "broker".to_owned(),
            url: format!("http://127.0.0.1:{port}/metrics").parse().unwrap(),
            login: Some(Login::Basic { username: "u".to_owned(), password: Secret::Inline("p".to_owned()) }),
            tls: crate::client::Tls::default(),
            interval: DEADLINE,
            timeout: Duration::from_millis(500),
            max_size: 1024,
            keep: Vec::new(),
            drop: Vec::new(),
            labels: Arc::default(),
        }
    }

    #[tokio::test]
    async fn a_page_is_asked_for_once_and_its_clock_looked_at() {
        let (port, served) =
            server("HTTP/1.1 200 OK\r\nDate: Thu, 01 Jan 2015 00:00:00 GMT\r\nContent-Length: 0\r\n\r\n");
        let found = page(&jmx(port)).await;
        let request = served.join().unwrap();
        assert!(
            request.starts_with("GET /metrics HTTP/1.1\r\n") && request.contains("authorization: Basic"),
            "{request}"
        );
        let levels: Vec<_> = found.iter().map(|finding| finding.level).collect();
        assert_eq!(levels, [Level::Ok, Level::Warn], "{found:?}");
        let (port, served) = server("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n");
        let found = page(&jmx(port)).await;
        served.join().unwrap();
        assert!(found[0].to_string().starts_with("FAIL  jmx broker: answers with status 401"), "{found:?}");
        // Nobody there, and nobody who answers.
        assert_eq!(page(&jmx(1)).await[0].level, Level::Fail);
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let found = page(&jmx(silent.local_addr().unwrap().port())).await;
        assert!(found[0].to_string().contains("no answer within 500ms"), "{found:?}");
    }

    #[tokio::test]
    async fn a_receiver_is_connected_to_and_its_url_not_shown() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let url = |port: u16| Address::Url(Secret::Inline(format!("http://127.0.0.1:{port}/token")));
        let found = receiver("notify a", &url(port)).await;
        assert_eq!((found.level, found.to_string().contains("token")), (Level::Ok, false), "{found}");
        let found = receiver("notify a", &url(1)).await;
        assert_eq!((found.level, found.to_string().contains("token")), (Level::Fail, false), "{found}");
        let nonsense = Address::Url(Secret::Inline("hunter2".to_owned()));
        let found = receiver("notify a", &nonsense).await;
        assert_eq!(found.level, Level::Fail, "{found}");
    }

    #[tokio::test]
    async fn brokers_are_asked_as_an_agent_would() {
        let cluster = rdkafka::mocking::MockCluster::new(1).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("agent.yaml");
        let servers = format!("{},127.0.0.1:1", cluster.bootstrap_servers());
        std::fs::write(&path, format!("kafka: {{bootstrap_servers: '{servers}'}}\n")).unwrap();
        let config = crate::config::load(&path, &|_| None).unwrap();
        let found = brokers(&config.kafka.unwrap()).await;
        let text: Vec<_> = found.iter().map(ToString::to_string).collect();
        assert!(text[0].contains("lets us in (brokers that it knows: 1)"), "{text:?}");
        assert_eq!(found.last().map(|found| found.level), Some(Level::Fail), "{text:?}");
    }
}
