//! Three brokers, three agents, one truth: whatever happens to brokers and agents, the pages together tell every series
//! once, no page ever tells a wrong lag, and an alert lives through it. One cluster for each version of Kafka; what is
//! done to it is done step by step, and every step leaves it whole.

mod content;
mod cut;
mod sampler;

use self::{
    content::{Content, WATCHED},
    cut::an_unclean_election_cuts_a_log,
    sampler::Sampler,
};
use crate::{
    harness::{
        client::Partition,
        daemon::{Daemon, Home},
        holds,
        kafka::{
            Cluster, Version,
            fleet::{OFFSETS_PARTITIONS, number},
        },
        oracle::Oracle,
        page::Page,
        pause,
        prometheus::Alertmanager,
        within,
    },
    rules::Webhook,
    shared::SEEN,
};
use rustix::process::Signal;
use serde_json::Value;
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::{Mutex, OnceLock, PoisonError},
    time::{Duration, Instant, SystemTime},
};

/// How soon the agents that are left cover everything, once no partition is without a leader, by their promise.
const COVERED: Duration = Duration::from_secs(15);

/// `for` of the alert, in seconds.
const PENDING: u64 = 30;

/// By then whoever follows a group has seen for long enough what the alert is about, and its leader's agent has told of it.
const FIRING: Duration = Duration::from_secs(PENDING + 10);

/// A step by its name.
type Step = (&'static str, fn(&mut Fleet));

/// What is done, in this order.
const STEPS: [Step; 10] = [
    ("three pages are one truth", three_pages_are_one_truth),
    ("one agent for the whole cluster", one_agent_for_the_whole_cluster),
    ("a broker is killed", a_broker_is_killed),
    ("brokers are restarted one by one", brokers_are_restarted_one_by_one),
    ("the alert lived through that", the_alert_lived_through_that),
    ("agents are restarted one by one", agents_are_restarted_one_by_one),
    ("replicas move", replicas_move),
    ("an agent dies beside a live broker", an_agent_dies_beside_a_live_broker),
    ("the groups read on", the_groups_read_on),
    ("an unclean election cuts a log", an_unclean_election_cuts_a_log),
];

#[test]
fn of_4_1_with_kraft() {
    live(Version::KRaft);
}

#[test]
fn of_3_9_with_zookeeper() {
    live(Version::ZooKeeper);
}

/// Takes all steps, also after one that failed.
fn live(version: Version) {
    // Six brokers that start and stop on two cores would make every promise of time a lottery.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let mut fleet = Fleet::start(version);
    let mut failed = Vec::new();
    for (name, step) in STEPS {
        let start = Instant::now();
        let done = catch_unwind(AssertUnwindSafe(|| step(&mut fleet)));
        eprintln!("{version:?}: {name}: {} in {:?}", if done.is_ok() { "ok" } else { "FAILED" }, start.elapsed());
        if done.is_err() {
            failed.push(name);
            fleet.repair();
        }
    }
    assert!(failed.is_empty(), "failed, each with its message above: {failed:?}");
}

struct Fleet {
    // In the order of dropping: who looks at something goes before it.
    sampler: Sampler,
    agents: Vec<Daemon>,
    webhook: Webhook,
    /// Where an action goes that a rule asks for once about the same group.
    tickets: Webhook,
    alertmanager: Alertmanager,
    version: Version,
    cluster: Cluster,
    content: Content,
    /// Since when all three agents have seen what the alert is about.
    watched: Instant,
    /// When brokers began to be restarted one by one, and what the webhook had been told by then.
    rolling: Option<(SystemTime, usize)>,
}

impl Fleet {
    fn start(version: Version) -> Self {
        let cluster = Cluster::of(version, 3);
        let content = Content::fill(&cluster.client());
        let (webhook, tickets, alertmanager) = (Webhook::start(), Webhook::start(), Alertmanager::start());
        let (group, topic) = WATCHED;
        let rule = format!(
            "rules: [{{name: watch, module: \"builtin:lag-threshold\", \
             config: {{groups: [{group}], topics: [{topic}], threshold: 20}}, for: {PENDING}s}}, \
             {{name: sightings, module: \"{}\", config: {{thresholds: {{{group}: 20}}, action: ticket}}, \
             shadow: false, actions: [ticket]}}]\n\
             actions: {{ticket: {{type: webhook, url: \"{}\", \
             params: {{consumergroup: \".+\", topic: \".+\", messages: \"[0-9]+\"}}}}}}",
            sightings().display(),
            tickets.server.url("/")
        );
        let notify = format!(
            "notify: [{{name: hook, type: webhook, url: \"{}\", match: ['rule=\"watch\"']}}, \
             {{name: am, type: alertmanager, urls: [\"{}\"], match: ['rule=\"watch\"']}}]",
            webhook.server.url("/"),
            alertmanager.url()
        );
        let agents: Vec<_> = cluster
            .ids()
            .map(|id| {
                let beside = format!("bootstrap_servers: \"{}\", broker_id: {id}", cluster.bootstrap_of(id));
                let kafka = format!("kafka: {{{beside}, scope: broker, interval: 1s, timeout: 900ms}}");
                Home::new().start(&format!("{kafka}\n{rule}\n{notify}"))
            })
            .collect();
        let addresses: Vec<_> = agents.iter().map(Daemon::address).collect();
        let sampler = Sampler::start(&addresses, content.lags());
        let watched = Instant::now();
        Self { sampler, agents, webhook, tickets, alertmanager, version, cluster, content, watched, rolling: None }
    }

    fn all(&self) -> Vec<usize> {
        self.cluster.ids().collect()
    }

    fn others(&self, than: usize) -> Vec<usize> {
        self.cluster.ids().filter(|id| *id != than).collect()
    }

    fn pages(&self) -> Vec<Page> {
        self.agents.iter().map(Daemon::page).collect()
    }

    /// Waits until every partition is led by one of these brokers.
    #[track_caller]
    fn is_led_by(&self, live: &[usize]) {
        self.cluster.client().until_partitions("every partition has a live leader", |partitions| {
            let led = |partition: &&Partition| live.iter().any(|id| number(*id) == partition.leader);
            let leaderless = partitions.iter().find(|partition| !led(partition));
            holds(leaderless.is_none() && !partitions.is_empty(), format!("{leaderless:?}"))
        });
    }

    /// Waits until the agents beside live brokers cover everything, and no other says anything.
    #[track_caller]
    fn is_covered_by(&self, live: &[usize]) {
        let start = Instant::now();
        within(COVERED, "all is covered, once", || {
            let pages = self.pages();
            self.content.is_on(&pages, &self.cluster, live)?;
            let dead = pages.iter().zip(self.cluster.ids()).filter(|(_, id)| !live.contains(id));
            for (page, id) in dead {
                let claimed = page.samples.iter().find(|sample| sample.name.starts_with("kafka_consumergroup"));
                holds(claimed.is_none(), format!("the agent beside dead broker {id} tells {claimed:?}"))?;
            }
            let owned = owned(&pages);
            holds((owned - f64::from(OFFSETS_PARTITIONS)).abs() < 0.5, format!("{owned} offsets partitions are owned"))
        });
        eprintln!("  covered by {live:?} after {:?}", start.elapsed());
    }

    /// All brokers are up: waits until all replicas are in sync, and gives each partition its preferred leader.
    #[track_caller]
    fn is_whole_again(&self) {
        let client = self.cluster.client();
        client.until_partitions("all replicas are in sync", |partitions| {
            let behind = partitions.iter().find(|partition| partition.in_sync.len() < partition.replicas.len());
            holds(behind.is_none() && !partitions.is_empty(), format!("{behind:?}"))
        });
        self.cluster.elect_preferred_leaders();
        client.until_partitions("preferred leaders lead", |partitions| {
            let other = partitions.iter().find(|partition| partition.replicas.first() != Some(&partition.leader));
            holds(other.is_none(), format!("{other:?}"))
        });
        self.is_covered_by(&self.all());
    }

    /// Nothing was wrong at any scrape since this was last asked.
    #[track_caller]
    fn was_never_wrong(&self) {
        let (faults, scrapes) = self.sampler.faults();
        let first: Vec<_> = faults.iter().take(10).collect();
        assert!(faults.is_empty(), "{} faults, the first: {first:#?}", faults.len());
        assert!(scrapes > 0, "nobody looked");
    }

    /// After a step that failed: as the next one expects it.
    fn repair(&self) {
        for id in self.cluster.ids().filter(|id| !self.cluster.is_up(*id)) {
            self.cluster.start_broker(id);
        }
        // Whatever this finds was said already.
        catch_unwind(AssertUnwindSafe(|| self.is_whole_again())).ok();
        for agent in 0..self.agents.len() {
            self.sampler.excuse(agent, false);
        }
        self.sampler.faults();
    }

    /// Agents whose page has the alert firing.
    fn speakers(&self) -> usize {
        self.pages_with("firing")
    }

    /// Agents whose page has the alert in that state.
    fn pages_with(&self, state: &str) -> usize {
        let labels = [("rule", "watch"), ("state", state), ("consumergroup", WATCHED.0)];
        self.pages().iter().filter(|page| page.has("brokerwarden_alert", &labels)).count()
    }

    /// `Ok` when Alertmanager has the alert once, firing since before `limit`.
    fn alertmanager_has_it_since_before(&self, limit: SystemTime) -> Result<(), String> {
        match self.alertmanager.alerts("consumergroup", WATCHED.0).as_slice() {
            [one] => holds(since(one) < limit, one),
            other => Err(format!("{} alerts", other.len())),
        }
    }
}

/// Partitions of `__consumer_offsets` that agents say they answer for.
fn owned(pages: &[Page]) -> f64 {
    pages.iter().map(|page| page.sum("brokerwarden_offsets_partitions_owned", &[])).sum()
}

/// When an alert began to fire, by what was told of it.
fn since(alert: &Value) -> SystemTime {
    let text = alert["startsAt"].as_str().unwrap_or_else(|| panic!("no startsAt: {alert}"));
    humantime::parse_rfc3339(text).unwrap_or_else(|error| panic!("{error}: {alert}"))
}

fn three_pages_are_one_truth(fleet: &mut Fleet) {
    for agent in &fleet.agents {
        agent.ready(SEEN);
    }
    fleet.is_whole_again();
    let oracle = Oracle::of_all(&fleet.cluster).unwrap();
    assert_eq!(oracle.lags(), *fleet.content.lags(), "the oracle and the content differ: the harness is at fault");
    oracle.agrees(&fleet.pages()).unwrap();
    for agent in &fleet.agents {
        let page = agent.page();
        page.expect("brokerwarden_offsets_partitions", &[], f64::from(OFFSETS_PARTITIONS)).unwrap();
        let groups = page.all("kafka_consumergroup_members", &[]).len();
        assert!(groups > 0, "an agent without a share: this content is too small");
    }
    fleet.watched = Instant::now();
    fleet.was_never_wrong();
}

fn one_agent_for_the_whole_cluster(fleet: &mut Fleet) {
    let bootstrap = fleet.cluster.bootstrap_all();
    let kafka = format!("{{bootstrap_servers: \"{bootstrap}\", scope: cluster, interval: 1s, timeout: 900ms}}");
    let agent = Home::new().start(&format!("kafka: {kafka}"));
    agent.ready(SEEN);
    within(COVERED, "one page has it all", || {
        fleet.content.is_on(&[agent.page()], &fleet.cluster, &fleet.all())?;
        agent.page().expect("brokerwarden_offsets_partitions_owned", &[], f64::from(OFFSETS_PARTITIONS))
    });
    Oracle::of_all(&fleet.cluster).unwrap().agrees(&[agent.page()]).unwrap();
}

fn a_broker_is_killed(fleet: &mut Fleet) {
    let killed = 2;
    fleet.cluster.kill_broker(killed);
    fleet.is_led_by(&fleet.others(killed));
    fleet.is_covered_by(&fleet.others(killed));
    fleet.cluster.start_broker(killed);
    fleet.is_whole_again();
    for agent in &mut fleet.agents {
        agent.must_run();
    }
    fleet.was_never_wrong();
}

/// Each by a controlled shutdown, and each gets back what it led.
fn brokers_are_restarted_one_by_one(fleet: &mut Fleet) {
    // One speaks, and replicas that follow have had the time to come to the same end.
    pause(FIRING.saturating_sub(fleet.watched.elapsed()));
    within(SEEN, "one agent says that the alert fires", || {
        let speakers = fleet.speakers();
        holds(speakers == 1, format!("{speakers} say so"))
    });
    let start = SystemTime::now();
    within(SEEN, "it was told", || {
        holds(fleet.webhook.alerts().iter().any(|alert| alert["status"] == "firing"), "not to the webhook")?;
        fleet.alertmanager_has_it_since_before(start)
    });
    fleet.rolling = Some((start, fleet.webhook.alerts().len()));
    for id in fleet.all() {
        fleet.cluster.stop_broker(id);
        fleet.is_led_by(&fleet.others(id));
        fleet.is_covered_by(&fleet.others(id));
        fleet.cluster.start_broker(id);
        fleet.is_whole_again();
    }
    fleet.was_never_wrong();
}

/// Follow as replica, speak as leader: whoever leads the group's partition after the restarts has known the alert
/// before, so that nobody hears of an end or of another beginning.
fn the_alert_lived_through_that(fleet: &mut Fleet) {
    let (start, told_before) = fleet.rolling.expect("the brokers were restarted");
    // Who has to wait for `for` again says that it waits.
    fleet.agents[0].snapshots(10.0, SEEN);
    assert_eq!(fleet.pages_with("pending"), 0, "begun again");
    let told = fleet.webhook.alerts();
    let told = &told[told_before..];
    let resolved: Vec<_> = told.iter().filter(|alert| alert["status"] == "resolved").collect();
    let again: Vec<_> = told.iter().filter(|alert| alert["status"] == "firing" && since(alert) >= start).collect();
    let speakers = fleet.speakers();
    assert_eq!(
        (resolved.len(), again.len(), speakers),
        (0, 0, 1),
        "resolved, fired again, speakers: {resolved:#?} {again:#?}"
    );
    fleet.alertmanager_has_it_since_before(start).unwrap();
    let tickets = fleet.tickets.requests();
    let about = tickets.iter().filter(|ticket| ticket.json()["params"]["topic"] == WATCHED.1);
    let [ticket] = about.collect::<Vec<_>>()[..] else { panic!("not one action about the same thing: {tickets:?}") };
    let (_, key) = ticket.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("idempotency-key")).unwrap();
    assert_eq!(ticket.json()["idempotencyKey"], *key);
}

/// The rule that asks for an action at the third sighting, as it is held in `tests/data`.
fn sightings() -> PathBuf {
    static UNPACKED: OnceLock<PathBuf> = OnceLock::new();
    let unpack = || {
        let packed = std::fs::File::open("tests/data/held/rust.wasm.gz").unwrap();
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("sightings.wasm");
        let mut file = std::fs::File::create(&path).unwrap();
        std::io::copy(&mut flate2::read::GzDecoder::new(packed), &mut file).unwrap();
        path
    };
    UNPACKED.get_or_init(unpack).clone()
}

fn agents_are_restarted_one_by_one(fleet: &mut Fleet) {
    for agent in 0..fleet.agents.len() {
        fleet.sampler.excuse(agent, true);
        let mut old = fleet.agents.remove(agent);
        let (code, _) = old.terminate();
        fleet.agents.insert(agent, old.start_again());
        fleet.sampler.excuse(agent, false);
        assert_eq!(code, Some(0));
        fleet.is_covered_by(&fleet.all());
        fleet.agents[agent].ready(SEEN);
    }
    fleet.was_never_wrong();
}

/// A partition of a topic and one of `__consumer_offsets` go away from the broker that leads them, and come back.
fn replicas_move(fleet: &mut Fleet) {
    let client = fleet.cluster.client();
    let leader = number(1);
    let (home, away): (Vec<_>, Vec<_>) = ["__consumer_offsets", "accounts"]
        .into_iter()
        .map(|topic| {
            let partition = client.until_partitions("there is one to move", |partitions| {
                let led = partitions.iter().find(|partition| partition.topic == topic && partition.leader == leader);
                led.cloned().ok_or(format!("broker {leader} leads nothing of {topic}"))
            });
            let Partition { number, replicas, .. } = partition;
            let others: Vec<_> = replicas.iter().copied().filter(|id| *id != leader).collect();
            ((topic.to_owned(), number, replicas), (topic.to_owned(), number, others))
        })
        .unzip();
    for to in [away, home] {
        fleet.cluster.reassign(&to);
        client.until_partitions("they have moved", |partitions| {
            let arrived = |(topic, number, replicas): &(String, i32, Vec<i32>)| {
                let is = partitions.iter().find(|is| is.topic == *topic && is.number == *number);
                is.is_some_and(|is| is.replicas == *replicas && is.in_sync.len() == replicas.len())
            };
            holds(to.iter().all(arrived), "not yet")
        });
        fleet.is_led_by(&fleet.all());
        fleet.is_covered_by(&fleet.all());
    }
    fleet.is_whole_again();
    fleet.was_never_wrong();
}

/// Its share goes dark, and the alert that the README ships says so.
fn an_agent_dies_beside_a_live_broker(fleet: &mut Fleet) {
    let dead = 1;
    fleet.sampler.excuse(dead, true);
    fleet.agents[dead].signal(Signal::KILL);
    fleet.agents[dead].wait(SEEN);
    let left = || {
        let left = fleet.agents.iter().enumerate().filter(|(agent, _)| *agent != dead);
        left.map(|(_, agent)| agent.page()).collect::<Vec<_>>()
    };
    within(SEEN, "sum(owned) < max(total)", || {
        let pages = left();
        let totals = pages.iter().map(|page| page.sum("brokerwarden_offsets_partitions", &[]));
        let (owned, total) = (owned(&pages), totals.fold(0.0, f64::max));
        holds(owned > 0.0 && owned < total, format!("{owned} of {total}"))
    });
    // Nobody takes over what a live broker leads.
    fleet.agents[0].snapshots(5.0, SEEN);
    let dark = fleet.content.is_on(&left(), &fleet.cluster, &fleet.all());
    assert!(dark.as_ref().is_err_and(|what| what.contains("on no page")), "{dark:?}");
    let old = fleet.agents.remove(dead);
    fleet.agents.insert(dead, old.start_again());
    fleet.sampler.excuse(dead, false);
    fleet.is_covered_by(&fleet.all());
    fleet.was_never_wrong();
}

/// After all that every agent still reads what is committed; and a group with very many partitions, spread over all
/// brokers, is as whole as any other.
fn the_groups_read_on(fleet: &mut Fleet) {
    fleet.sampler.stop();
    fleet.was_never_wrong();
    let client = fleet.cluster.client();
    fleet.content.read_on(&client);
    fleet.is_covered_by(&fleet.all());
    fleet.content.add_wide_topic(&client, "wide", 1000);
    fleet.is_covered_by(&fleet.all());
    let oracle = Oracle::of_all(&fleet.cluster).unwrap();
    assert_eq!(oracle.lags(), *fleet.content.lags(), "the oracle and the content differ: the harness is at fault");
    oracle.agrees(&fleet.pages()).unwrap();
}
