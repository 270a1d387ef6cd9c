//! Three brokers with their JMX exporters, an agent beside each, and a Prometheus with the shipped configuration: well,
//! while leadership moves, in trouble, and with an agent that is dead.

use super::{
    dashboards,
    exporter::{self, Other},
    shipped,
};
use crate::{
    harness::{
        client::{Client, Member, Protocol},
        daemon::{Daemon, Home},
        free_port, guests, holds,
        kafka::{Cluster, Version, fleet::number},
        local, pause,
        prometheus::{Alertmanager, Prometheus},
        within,
    },
    shared::{self, SEEN},
};
use rustix::process::Signal;
use std::{
    collections::BTreeSet,
    net::TcpStream,
    time::{Duration, SystemTime},
};

/// The label `cluster` of the shipped fleet/production.yml.
const CLUSTER: &str = "production";

/// Longest wait for Prometheus to have seen, and judged.
const JUDGED: Duration = Duration::from_mins(2);

/// Partitions of the topic that all three brokers share.
const PARTITIONS: i32 = 6;

/// More connections than the agent takes at once.
const TOO_MANY_CONNECTIONS: usize = 300;

/// A rule that may raise one alert. It is live while there is none, and fails as soon as there are two.
const NARROW: &str = "{name: narrow, module: \"builtin:lag-threshold\", \
    config: {groups: [\"later-*\"], threshold: 10}, limits: {alerts: 1}}";

struct Fleet {
    // In the order of dropping: who looks at something goes before it.
    other: Other,
    prometheus: Prometheus,
    alertmanager: Alertmanager,
    agents: Vec<Daemon>,
    _live: Member,
    client: Client,
    cluster: Cluster,
}

#[test]
fn three_brokers_under_one_prometheus() {
    let mut fleet = Fleet::start();
    fleet.is_well();
    fleet.gives_what_one_kafka_exporter_gives();
    fleet.keeps_its_series_when_leaders_move();
    fleet.fills_every_dashboard();
    fleet.is_missed_when_an_agent_dies();
    for agent in &mut fleet.agents[1..] {
        agent.must_run();
    }
}

/// The names of JMX exporter 0.17 differ from those of 1.0.
#[test]
fn the_dashboard_of_brokers_knows_the_names_of_both_jmx_exporters() {
    let cluster = shared::zookeeper();
    let url = cluster.jmx_url();
    let jmx =
        format!("jmx: [{{name: broker, url: \"{url}\", interval: 5s}}, {{name: again, url: \"{url}\", interval: 5s}}]");
    let agent = Home::new().start(&format!("{}\n{jmx}", shared::kafka(&cluster.bootstrap())));
    agent.ready(SEEN);
    let prometheus = under_the_shipped_configuration(&[&agent], &free_alertmanager());
    dashboards::all_give_data(&["broker-jvm"], &prometheus, &[("cluster", CLUSTER)], || {});
}

/// The address of an Alertmanager that is not there.
fn free_alertmanager() -> String {
    local(free_port()).to_string()
}

/// A Prometheus with the shipped configuration, in a hurry, for these agents.
#[track_caller]
fn under_the_shipped_configuration(agents: &[&Daemon], alertmanager: &str) -> Prometheus {
    let config = shipped(
        "prometheus/prometheus.yml",
        &[
            ("scrape_interval: 15s", "scrape_interval: 5s"),
            ("evaluation_interval: 15s", "evaluation_interval: 5s"),
            ("alertmanager:9093", alertmanager),
        ],
    );
    let targets: Vec<_> = agents.iter().map(|agent| format!("    - {}\n", agent.address())).collect();
    let found = shipped(
        "prometheus/fleet/production.yml",
        &[("    - broker-1:9308\n    - broker-2:9308\n    - broker-3:9308\n", &targets.concat())],
    );
    Prometheus::start(&[
        ("prometheus.yml", &config),
        ("fleet/production.yml", &found),
        ("brokerwarden.rules.yml", &shipped("prometheus/brokerwarden.rules.yml", &[])),
    ])
}

impl Fleet {
    #[track_caller]
    fn start() -> Self {
        let cluster = Cluster::to_measure(Version::KRaft, 3);
        let client = cluster.client();
        let live = fill(&client);
        let alertmanager = Alertmanager::start();
        let agents: Vec<_> = cluster
            .ids()
            .map(|id| {
                let home = Home::new();
                home.write("rules/README", "None yet.\n");
                home.start(&yaml(&cluster, id, &alertmanager, ""))
            })
            .collect();
        let beside: Vec<_> = agents.iter().collect();
        let prometheus = under_the_shipped_configuration(&beside, alertmanager.url().trim_start_matches("http://"));
        let other = Other::start(&cluster);
        for agent in &agents {
            agent.ready(SEEN * 3);
        }
        Self { other, prometheus, alertmanager, agents, _live: live, client, cluster }
    }

    /// All that is recorded is there, and nothing is wrong but what is always.
    #[track_caller]
    fn is_well(&self) {
        within(JUDGED, "all agents are up and see all targets", || {
            holds(self.prometheus.query("sum(up{job=\"brokerwarden\"})")? > 2.5, "not all are up")?;
            let targets = self.prometheus.query("sum(brokerwarden_target_up)")?;
            holds(targets > 5.5, format!("{targets} of 6 targets are up"))
        });
        within(JUDGED, "the rules are judged, and only the watchdog fires", || {
            let groups = self.prometheus.api("rules", &[])?;
            let rules: Vec<_> = groups["groups"].as_array().into_iter().flatten().collect();
            let rules: Vec<_> =
                rules.iter().flat_map(|group| group["rules"].as_array().into_iter().flatten()).collect();
            holds(rules.len() > 20, format!("only {} rules", rules.len()))?;
            let ill = rules.iter().find(|rule| rule["health"] != "ok");
            holds(ill.is_none(), format!("{ill:?}"))?;
            for rule in rules.iter().filter(|rule| rule["type"] == "recording") {
                let name = rule["name"].as_str().unwrap();
                holds(!self.prometheus.series(name)?.is_empty(), format!("{name} is not recorded"))?;
            }
            let alerts = self.prometheus.series("ALERTS")?;
            let names: Vec<_> = alerts.keys().map(|alert| alert["alertname"].as_str()).collect();
            holds(names == ["BrokerwardenWatchdog"], format!("{names:?}"))?;
            let told = self.alertmanager.alerts("alertname", "BrokerwardenWatchdog");
            holds(told.len() == 1, "the watchdog is not told")
        });
        let ratio = self.prometheus.query("cluster:brokerwarden_offsets_partitions_owned:ratio");
        assert_eq!(ratio, Ok(1.0));
    }

    #[track_caller]
    fn gives_what_one_kafka_exporter_gives(&self) {
        exporter::same_numbers(&self.prometheus, &self.other.prometheus);
        let mut committed = 40;
        // Longer than the longest window that the dashboard's rates look at whole.
        for _ in 0..16 {
            self.client.produce_each("orders", [50; 4]);
            committed += 45;
            self.client.commit("reports", "orders", &[(0, committed), (1, committed)]);
            pause(Duration::from_secs(5));
        }
        exporter::same_speeds(&self.prometheus, &self.other.prometheus);
        exporter::same_numbers(&self.prometheus, &self.other.prometheus);
    }

    /// Every partition gets another leader: other agents tell of it, by the same series.
    #[track_caller]
    fn keeps_its_series_when_leaders_move(&self) {
        let before = self.speakers();
        let moved: Vec<_> = self.client.until_partitions("there are partitions", |partitions| {
            let replicated = partitions.iter().filter(|partition| partition.replicas.len() == 3);
            let moved: Vec<_> = replicated
                .map(|partition| {
                    let mut replicas = partition.replicas.clone();
                    replicas.rotate_left(1);
                    (partition.topic.clone(), partition.number, replicas)
                })
                .collect();
            holds(moved.len() > 50, format!("only {}", moved.len())).map(|()| moved)
        });
        self.cluster.reassign(&moved);
        self.client.until_partitions("the order of replicas is another", |partitions| {
            let ordered = |(topic, number, replicas): &(String, i32, Vec<i32>)| {
                partitions.iter().any(|one| one.topic == *topic && one.number == *number && one.replicas == *replicas)
            };
            holds(moved.iter().all(ordered), "not yet")
        });
        self.cluster.elect_preferred_leaders();
        self.client.until_partitions("others lead", |partitions| {
            let leads = |(topic, number, replicas): &(String, i32, Vec<i32>)| {
                partitions.iter().any(|one| one.topic == *topic && one.number == *number && one.leader == replicas[0])
            };
            holds(moved.iter().all(leads), "not yet")
        });
        within(JUDGED, "another agent tells of each partition and of the group", || {
            let now = self.speakers();
            holds(now.len() == before.len() && now.is_disjoint(&before), format!("{now:?}, before: {before:?}"))
        });
        let of_accounts = [
            "kafka_topic_partition_current_offset{topic=\"accounts\"}",
            "kafka_consumergroup_lag{topic=\"accounts\",consumergroup=\"billing\"}",
        ];
        for query in of_accounts {
            let range = format!("count(count_over_time({query}[15m]))");
            within(JUDGED, "they are told of as before", || {
                let live = self.prometheus.query(&format!("count({query})"))?;
                holds((live - f64::from(PARTITIONS)).abs() < 0.5, format!("{query}: {live} series"))
            });
            assert_eq!(
                self.prometheus.query(&range),
                Ok(f64::from(PARTITIONS)),
                "{query}: series that were not there before"
            );
        }
        let instances = self.prometheus.label_values("instance", "{__name__=~\"kafka_(topic|consumergroup).+\"}");
        assert_eq!(instances, Ok(vec![CLUSTER.to_owned()]));
        // What is about a broker, or its agent, has its own.
        for own in ["up{job=\"brokerwarden\"}", "jvm_threads_current", "brokerwarden_build_info"] {
            assert_eq!(self.prometheus.series(own).unwrap().len(), 3, "{own}");
        }
    }

    /// Which agent tells of which partition, and which of the group `billing`.
    fn speakers(&self) -> BTreeSet<(usize, String)> {
        let pages = self.agents.iter().map(Daemon::page).enumerate();
        let told = pages.flat_map(|(agent, page)| {
            let partitions = page.all("kafka_topic_partition_leader", &[("topic", "accounts")]);
            let groups = page.all("kafka_consumergroup_members", &[("consumergroup", "billing")]);
            let labels: Vec<_> =
                partitions.iter().chain(&groups).map(|sample| format!("{:?}", sample.labels)).collect();
            labels.into_iter().map(move |labels| (agent, labels))
        });
        told.collect()
    }

    /// Everything goes wrong with one agent, so that there is something to see of each kind.
    #[track_caller]
    fn fills_every_dashboard(&mut self) {
        let ill = self.agents.remove(0);
        let nowhere = local(free_port());
        let further = format!(
            "- {{name: again, url: \"http://{}/metrics\", interval: 5s}}\n- {{name: absent, url: \"http://{nowhere}/metrics\"}}",
            self.cluster.jmx_address(1)
        );
        let yaml = yaml(&self.cluster, 1, &self.alertmanager, &further);
        let real = format!("bootstrap_servers: \"{}\"", self.cluster.bootstrap_of(1));
        assert!(yaml.contains(&real), "{yaml}");
        let broken = yaml
            .replace(&real, &format!("bootstrap_servers: \"{nowhere},{}\"", self.cluster.bootstrap_of(1)))
            .replace("rules: [", &format!("rules: [{NARROW}, "));
        ill.home.configure(&broken);
        ill.home.write("rules/flawed.wasm", guests::trapping());
        let ill = ill.start_again();
        ill.until(SEEN * 2, "one rule is refused, and one is live that has no room", |page| {
            let refused = page.has("brokerwarden_rule_reloads_total", &[("rule", "flawed"), ("outcome", "refused")]);
            holds(refused && page.has("brokerwarden_rule_info", &[("rule", "narrow")]), "not yet")
        });
        for group in ["later-1", "later-2"] {
            self.client.commit(group, "accounts", &[(0, 160)]);
        }
        let transaction = self.client.begin("never-ends");
        transaction.produce("orders", 0, 10);
        let mut opened = SystemTime::now();
        let mut transaction = Some(transaction);
        let address = ill.address();
        let mut crowds = 3;
        let look = || {
            if crowds > 0 {
                // More than the agent lets in; they are gone before it is asked for its page.
                crowds -= 1;
                let crowd: Vec<_> =
                    (0..TOO_MANY_CONNECTIONS).filter_map(|_| TcpStream::connect(address).ok()).collect();
                pause(Duration::from_millis(500));
                drop(crowd);
            }
            // The broker ends it after a minute.
            if opened.elapsed().is_ok_and(|age| age > Duration::from_secs(40)) {
                transaction.take();
                let next = self.client.begin("never-ends");
                next.produce("orders", 0, 10);
                (transaction, opened) = (Some(next), SystemTime::now());
            }
            pause(Duration::from_secs(2));
        };
        let chosen = [("cluster", CLUSTER), ("group", "billing")];
        dashboards::all_give_data(&["cluster", "group", "broker-jvm", "agent"], &self.prometheus, &chosen, look);
        self.agents.insert(0, ill);
    }

    /// Prometheus has it that somebody is missing, and that a share is dark.
    #[track_caller]
    fn is_missed_when_an_agent_dies(&mut self) {
        let mut dead = self.agents.remove(0);
        dead.signal(Signal::KILL);
        dead.wait(SEEN);
        within(JUDGED, "Prometheus misses it", || {
            let pending = self.prometheus.series("ALERTS{alertstate=\"pending\"}")?;
            let names: BTreeSet<_> = pending.keys().map(|alert| alert["alertname"].as_str()).collect();
            let wanted = ["BrokerwardenAgentDown", "BrokerwardenShareNotWatched"];
            holds(wanted.iter().all(|name| names.contains(name)), format!("{names:?}"))?;
            let ratio = self.prometheus.query("cluster:brokerwarden_offsets_partitions_owned:ratio")?;
            holds(ratio > 0.0 && ratio < 1.0, format!("{ratio} of the groups are watched"))
        });
        self.agents.insert(0, dead);
    }
}

/// Topics, records and groups: one that has lost records and is behind in several ways, one that never committed on some
/// partitions, one that is alive.
fn fill(client: &Client) -> Member {
    client.create_replicated("accounts", PARTITIONS, 3);
    client.create_replicated("orders", 4, 3);
    client.create_replicated("future", 1, 3);
    client.produce_each("accounts", [200; 6]);
    client.produce_each("orders", [100; 4]);
    // From the future: all that is known of these is that they were there at the agents' start.
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let later = i64::try_from(now.as_millis()).unwrap() + 3_600_000;
    client.produce_at("future", [later; 50]);
    client.commit("reports", "orders", &[(0, 40), (1, 40)]);
    let accounts = (0..PARTITIONS).map(|partition| ("accounts", partition, 100));
    client.commit_all("billing", accounts.chain([("future", 0, 10)]));
    client.delete_records("accounts", 0, 150);
    let live = client.join("live", "orders", Protocol::Classic);
    live.assigned(4);
    live
}

/// `agent.yaml` of the agent beside that broker, with `further` JMX pages.
fn yaml(cluster: &Cluster, id: usize, alertmanager: &Alertmanager, further: &str) -> String {
    let (bootstrap, jmx) = (cluster.bootstrap_of(id), cluster.jmx_address(id));
    let id = number(id);
    format!(
        "cluster: {CLUSTER}\n\
         kafka: {{bootstrap_servers: \"{bootstrap}\", broker_id: {id}, interval: 1s, timeout: 900ms}}\n\
         jmx:\n- {{name: broker, url: \"http://{jmx}/metrics\", interval: 5s}}\n{further}\n\
         rules_dir: rules\n\
         rules: [{{name: lag, module: \"builtin:lag-threshold\", config: {{groups: [billing], threshold: 10}}}}]\n\
         notify: [{{name: am, type: alertmanager, urls: [\"{}\"]}}]",
        alertmanager.url()
    )
}
