//! One deed from its beginning to its end: too old? silenced? only a try? Then done, again and again while that may help.

use super::{
    message::{self, Message, NotProduced, Produce},
    pause::{PAUSE_LOOK, Switch},
    program,
    settings::{Config, Kind, Silencer},
    silence::{self, MAX_SILENCES_BYTES},
    spawn::Spawner,
};
use crate::{
    clock,
    deliver::{Backoff, Client, Refusal, Timing},
    events::SelfMetrics,
    model::{BoundedText, families},
    pipeline::{Deed, DeedEnd, MAX_RESULT_TEXT},
    supervise::Stop,
};
use hyper::header::HeaderName;
use std::{
    hash::{BuildHasher, RandomState},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// How often a deed is tried that fails for a while.
pub const MAX_ATTEMPTS: u32 = 10;
/// A deed that could not begin within so long is not done, and one that failed is not tried again.
pub const MAX_DEED_AGE: Duration = Duration::from_hours(1);
/// How long a deed waits to know whether its alerts are silenced.
pub const MAX_SILENCE_WAIT: Duration = Duration::from_mins(10);

/// Longest time for an Alertmanager's answer about its silences.
const SILENCES_TIMEOUT: Duration = Duration::from_secs(10);
/// The header that receivers know a deed by, and the name of a record's header.
const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// An action, and what it is done with.
pub(super) struct Hands {
    pub(super) config: Config,
    /// Of a webhook.
    client: Option<Client>,
    silences: Option<Client>,
}

impl Hands {
    pub(super) fn new(config: Config) -> Self {
        let client = match &config.kind {
            Kind::Webhook(webhook) => Some(Client::new(config.timeout, webhook.reach.clone(), webhook.login.clone())),
            Kind::Exec(_) | Kind::Produce { .. } => None,
        };
        let asks = |silencer: &Silencer| Client::new(SILENCES_TIMEOUT, silencer.reach.clone(), silencer.login.clone());
        let silences = config.unless_silenced.as_ref().map(asks);
        Self { config, client, silences }
    }
}

/// What all deeds share.
#[derive(Clone)]
pub(super) struct Means {
    pub(super) switch: Switch,
    pub(super) spawner: Spawner,
    /// `None`: there is no Kafka. Shared, so that what is tried again takes the present one.
    pub(super) produce: Arc<Mutex<Option<Produce>>>,
    pub(super) metrics: Arc<SelfMetrics>,
    pub(super) timing: Timing,
    /// Nothing is to begin any more.
    pub(super) stop: Stop,
    /// What runs is to end at once.
    pub(super) cut: Stop,
}

/// How a deed ended.
#[derive(Debug, PartialEq)]
pub(super) struct Ended {
    pub(super) end: DeedEnd,
    pub(super) attempts: u32,
    /// For people.
    pub(super) text: String,
}

/// We are stopping: the deed has not ended, and will be done again.
struct CutOff;

/// Why an attempt came to nothing.
struct Failure {
    temporary: bool,
    retry_after: Option<Duration>,
    text: String,
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self { temporary: refusal.temporary, retry_after: refusal.retry_after, text: refusal.text }
    }
}

impl From<NotProduced> for Failure {
    fn from(failure: NotProduced) -> Self {
        Self { temporary: failure.temporary, retry_after: None, text: failure.text }
    }
}

impl Failure {
    fn last(text: String) -> Self {
        Self { temporary: false, retry_after: None, text }
    }
}

/// Does a deed. `None`: we were stopped before it ended.
pub(super) async fn do_it(deed: &Deed, hands: &Hands, means: &Means) -> Option<Ended> {
    let mut attempts = 0;
    let (end, text) = match whole(deed, hands, means, &mut attempts).await {
        Ok(ended) => ended,
        Err(CutOff) => return None,
    };
    Some(Ended { end, attempts, text: bounded(&text) })
}

/// Text of a result.
pub(super) fn bounded(text: &str) -> String {
    let text = BoundedText(text, MAX_RESULT_TEXT).to_string();
    crate::model::clip(&text, MAX_RESULT_TEXT).to_owned()
}

async fn whole(deed: &Deed, hands: &Hands, means: &Means, attempts: &mut u32) -> Result<(DeedEnd, String), CutOff> {
    if age(deed) >= MAX_DEED_AGE {
        return Ok((DeedEnd::Expired, format!("it was asked for {} ago", shown(age(deed)))));
    }
    if let (Some(silencer), Some(client)) = (&hands.config.unless_silenced, &hands.silences) {
        match silenced(deed, silencer, client, means).await? {
            Ok(false) => {}
            Ok(true) => {
                return Ok((DeedEnd::Silenced, format!("its alerts are silenced at {}", silencer.name)));
            }
            Err(why) => return Ok((DeedEnd::Failed, why)),
        }
    }
    if hands.config.dry_run {
        return Ok((DeedEnd::DryRun, would_do(deed, &hands.config)));
    }
    let mut backoff = Backoff::default();
    loop {
        *attempts = attempts.saturating_add(1);
        let failure = match attempt(deed, hands, means).await? {
            Ok(text) => return Ok((DeedEnd::Done, text)),
            Err(failure) => failure,
        };
        if !failure.temporary {
            return Ok((DeedEnd::Failed, failure.text));
        }
        let wait = backoff.failed(&means.timing, failure.retry_after, random());
        if *attempts >= MAX_ATTEMPTS {
            return Ok((DeedEnd::Failed, format!("{}; tried {attempts} times", failure.text)));
        }
        if age(deed).saturating_add(wait) >= MAX_DEED_AGE {
            return Ok((DeedEnd::Failed, format!("{}; too late to try again", failure.text)));
        }
        let (action, key, error) = (&deed.action, &deed.key, bounded(&failure.text));
        tracing::warn!(%action, key = %bounded(key), attempt = *attempts, error, "an action failed and will be tried again");
        means.metrics.count(&families::ACTIONS, &[action, "retried"]);
        pause_for(wait, means).await?;
        while means.switch.is_paused().await {
            pause_for(PAUSE_LOOK, means).await?;
        }
    }
}

fn age(deed: &Deed) -> Duration {
    clock::now().since(deed.requested_at)
}

fn random() -> u64 {
    RandomState::new().hash_one(0)
}

fn shown(duration: Duration) -> humantime::FormattedDuration {
    humantime::format_duration(Duration::from_secs(duration.as_secs()))
}

async fn pause_for(wait: Duration, means: &Means) -> Result<(), CutOff> {
    tokio::select! {
        () = tokio::time::sleep(wait) => Ok(()),
        () = means.stop.wait() => Err(CutOff),
    }
}

/// Are all of its alerts silenced? Asked until it is known, or too late.
async fn silenced(
    deed: &Deed,
    silencer: &Silencer,
    client: &Client,
    means: &Means,
) -> Result<Result<bool, String>, CutOff> {
    let mut backoff = Backoff::default();
    loop {
        let answer = tokio::select! {
            answer = ask(deed, silencer, client) => answer,
            () = means.stop.wait() => return Err(CutOff),
        };
        let why = match answer {
            Ok(silenced) => return Ok(Ok(silenced)),
            Err(why) => why,
        };
        let wait = backoff.failed(&means.timing, None, random());
        if age(deed).saturating_add(wait) >= MAX_SILENCE_WAIT {
            return Ok(Err(format!("not known whether its alerts are silenced at {}: {why}", silencer.name)));
        }
        tracing::warn!(
            action = %deed.action, notifier = %silencer.name, error = %bounded(&why),
            "cannot ask whether the alerts of an action are silenced; it waits"
        );
        pause_for(wait, means).await?;
    }
}

/// Those in a cluster know each other's silences: one that says so is enough, and one that answers.
async fn ask(deed: &Deed, silencer: &Silencer, client: &Client) -> Result<bool, String> {
    let (mut answered, mut why) = (false, "it has no URL".to_owned());
    for url in &silencer.urls {
        let answer = client.get(url, silence::PATH, MAX_SILENCES_BYTES).await.map_err(|refusal| refusal.text);
        match answer.and_then(|answer| silence::are_silenced(&deed.alerts, &answer)) {
            Ok(true) => return Ok(true),
            Ok(false) => answered = true,
            Err(error) => why = error,
        }
    }
    if answered { Ok(false) } else { Err(why) }
}

async fn attempt(deed: &Deed, hands: &Hands, means: &Means) -> Result<Result<String, Failure>, CutOff> {
    if let Kind::Exec(exec) = &hands.config.kind {
        let ran = program::run(exec, deed, hands.config.timeout, &means.spawner, &means.cut).await;
        // A program may have done half of it: who wrote it knows whether to do it again, and we do not.
        return ran.map(|ran| ran.map_err(Failure::last)).ok_or(CutOff);
    }
    tokio::select! {
        told = tell(deed, hands, means) => Ok(told),
        () = means.cut.wait() => Err(CutOff),
    }
}

async fn tell(deed: &Deed, hands: &Hands, means: &Means) -> Result<String, Failure> {
    let body = message::body(deed).map_err(|error| Failure::last(format!("cannot be written as JSON: {error}")))?;
    let produce = means.produce.lock().unwrap_or_else(PoisonError::into_inner).clone();
    match (&hands.config.kind, &hands.client, produce) {
        (Kind::Webhook(webhook), Some(client), _) => {
            let header = (HeaderName::from_static(IDEMPOTENCY_KEY), deed.idempotency_key.as_str());
            Ok(client.post(&webhook.url, header, body).await?)
        }
        (Kind::Produce { topic }, _, Some(produce)) => {
            let message = Message {
                topic: topic.clone(),
                key: deed.key.clone().into_bytes(),
                value: body,
                headers: vec![(IDEMPOTENCY_KEY.to_owned(), deed.idempotency_key.clone())],
                timeout: hands.config.timeout,
            };
            Ok(produce(message).await?)
        }
        _ => Err(Failure::last("there is no Kafka in agent.yaml to produce to".to_owned())),
    }
}

/// What a deed would do, in full; no secret, so no URL and no value of the environment.
fn would_do(deed: &Deed, config: &Config) -> String {
    let body = || String::from_utf8_lossy(&message::body(deed).unwrap_or_default()).into_owned();
    let text = match &config.kind {
        Kind::Exec(exec) => match program::arguments(exec, deed) {
            Ok(arguments) => format!("would run {:?} with {arguments:?}", exec.program),
            Err(why) => format!("would fail: {why}"),
        },
        Kind::Webhook(_) => format!("would post {}", body()),
        Kind::Produce { topic } => format!("would produce to {topic}, key {:?}: {}", deed.key, body()),
    };
    tracing::info!(action = %deed.action, rule = %deed.rule, "dry run of an action: {}", BoundedText(&text, MAX_DRY_RUN));
    text
}

/// Bytes of what a dry run writes to the log.
const MAX_DRY_RUN: usize = 64 << 10;
