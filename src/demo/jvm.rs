//! The demo's JMX page: a real one, cut to the demo's topics, with some values that move.
//! Does not know how the agent reads it.

use super::{
    cluster::Board,
    schedule::{OFFSETS_PARTITIONS, OFFSETS_TOPIC, TOPICS},
    simulation::Ends,
};
use crate::supervise::Stop;
use bytes::Bytes;
use flate2::read::GzDecoder;
use http_body_util::Full;
use hyper::{Request, Response, body::Incoming, header, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use std::{
    collections::HashMap,
    convert::Infallible,
    fmt::Write as _,
    io::Read as _,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::net::TcpListener;

/// Kafka 3.9.1 with ZooKeeper under jmx_prometheus_javaagent 0.17.2, pattern ".*": all families, topics renamed.
const PAGE: &[u8] = include_bytes!("jmx-page.txt.gz");

/// The longest that one reader of the page may take; readers are served one after the other.
pub const CONNECTION_LIMIT: Duration = Duration::from_secs(5);

/// Wait after the system refused to hand over a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The embedded page, decompressed.
pub(super) fn template() -> std::io::Result<String> {
    let mut text = String::new();
    GzDecoder::new(PAGE).read_to_string(&mut text)?;
    Ok(text)
}

/// Serves the page to one reader after the other until the stop signal. Whatever is asked for, the page is the answer,
/// as with the real one.
pub(super) async fn serve(listener: TcpListener, template: String, board: Arc<Board>, started: Instant, stop: Stop) {
    let template = &template;
    let board = &board;
    loop {
        let accepted = tokio::select! {
            () = stop.wait() => return,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection to the demo's JMX page");
                tokio::select! {
                    () = stop.wait() => return,
                    () = tokio::time::sleep(ACCEPT_PAUSE) => continue,
                }
            }
        };
        let answer = service_fn(|_: Request<Incoming>| async {
            let body = render(template, &moving(&board.ends(), started.elapsed()));
            let mut response = Response::new(Full::new(Bytes::from(body)));
            let text = header::HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
            response.headers_mut().insert(header::CONTENT_TYPE, text);
            Ok::<_, Infallible>(response)
        });
        let connection = http1::Builder::new().keep_alive(false).serve_connection(TokioIo::new(stream), answer);
        tokio::select! {
            () = stop.wait() => return,
            ended = tokio::time::timeout(CONNECTION_LIMIT, connection) => {
                if !matches!(ended, Ok(Ok(()))) {
                    tracing::debug!(?ended, "a reader of the demo's JMX page was cut off");
                }
            }
        }
    }
}

/// The template with the given values in place of its own.
fn render(template: &str, moving: &HashMap<String, f64>) -> String {
    let mut page = String::with_capacity(template.len());
    for line in template.lines() {
        let value = line.rsplit_once(' ').and_then(|(series, _)| Some((series, moving.get(series)?)));
        let written = match value {
            Some((series, value)) => writeln!(page, "{series} {value:?}"),
            None => writeln!(page, "{line}"),
        };
        // Writing to a String cannot fail.
        debug_assert!(written.is_ok());
    }
    page
}

/// Values by series, as the page writes them.
fn moving(ends: &Ends, elapsed: Duration) -> HashMap<String, f64> {
    let seconds = elapsed.as_secs_f64();
    let mut values = HashMap::new();
    let mut all = 0.0;
    let topics = TOPICS.iter().map(|topic| (topic.name, topic.partitions));
    for (topic, partitions) in topics.chain([(OFFSETS_TOPIC, OFFSETS_PARTITIONS)]) {
        let mut sum = 0.0;
        for partition in 0..partitions {
            let end = ends.get(topic).and_then(|ends| ends.get(&partition)).copied().unwrap_or(0);
            let end = f64::from(u32::try_from(end).unwrap_or(u32::MAX));
            sum += end;
            let series =
                format!("kafka_log_log_value{{name=\"LogEndOffset\",topic=\"{topic}\",partition=\"{partition}\",}}");
            values.insert(series, end);
        }
        all += sum;
        values.insert(
            format!("kafka_server_brokertopicmetrics_count{{name=\"MessagesInPerSec\",topic=\"{topic}\",}}"),
            sum,
        );
    }
    values.insert("kafka_server_brokertopicmetrics_count{name=\"MessagesInPerSec\",}".into(), all);
    // A heap that fills and is collected every 20 s.
    let heap = (120.0 + 6.0 * (seconds % 20.0)) * 1_048_576.0;
    values.insert("java_lang_memory_heapmemoryusage_used".into(), heap.round());
    values.insert("jvm_memory_bytes_used{area=\"heap\",}".into(), heap.round());
    values.insert("java_lang_runtime_uptime".into(), (seconds * 1000.0).round());
    values.insert("process_cpu_seconds_total".into(), 42.66 + 0.05 * seconds);
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_moving_series_is_on_the_page_once_and_takes_its_value() {
        let template = template().unwrap();
        let mut ends = Ends::new();
        ends.entry("orders".into()).or_default().insert(2, 77);
        let values = moving(&ends, Duration::from_secs(3));
        for series in values.keys() {
            let found = template.lines().filter(|line| line.strip_prefix(series).is_some_and(|l| l.starts_with(' ')));
            assert_eq!(found.count(), 1, "{series}");
        }
        let page = render(&template, &values);
        assert_eq!(page.lines().count(), template.lines().count());
        for line in [
            "kafka_log_log_value{name=\"LogEndOffset\",topic=\"orders\",partition=\"2\",} 77.0",
            "kafka_server_brokertopicmetrics_count{name=\"MessagesInPerSec\",} 77.0",
            "java_lang_runtime_uptime 3000.0",
            "jmx_scrape_error 0.0",
        ] {
            assert!(page.lines().any(|l| l == line), "{line}");
        }
        // The agent takes the broker beside it from this one; the mock's only broker is number 1.
        assert!(page.contains("\nkafka_server_app_info_starttimems{id=\"1\",} "));
    }
}
