//! Asks for something of each interface, and measures what came; exports all that a rule may export.

use brokerwarden_rule::{
    MigratesState, bindings::brokerwarden::rule::snapshot as raw, own_actions::State as ActionState, own_alerts::State,
    prelude::*, snapshot::Ownership,
};

use std::time::Duration;

struct Probe;

impl Rule for Probe {
    type Config = NoConfig;

    fn evaluate(ctx: &Context, _config: NoConfig) -> Result<Outcome, Failure> {
        let mut said = Said(Vec::new());
        let since = |at: u64| ctx.now_ms.saturating_sub(at) as f64 / 1000.0;
        said.add("now", ctx.now_ms as f64, &[("cluster", &ctx.cluster)]);
        said.add("interval", ctx.interval_ms as f64, &[]);

        // In columns, of which the SDK makes rows.
        let table = snapshot::partition_lags(&LagFilter::all())?;
        let count = |is: &dyn Fn(&LagRow) -> bool| table.rows().filter(|row| is(row)).count() as f64;
        let sum = |of: &dyn Fn(&LagRow) -> f64| table.rows().map(|row| of(&row)).sum::<f64>();
        said.add("table_rows", count(&|_| true), &[]);
        if let Some(last) = table.rows().last() {
            said.add("table_last", last.partition.into(), &[("group", last.group), ("topic", last.topic)]);
        }
        said.add("table_lag", sum(&|row| row.lag.unwrap_or(0) as f64), &[]);
        said.add("table_no_lag", count(&|row| row.lag.is_none()), &[]);
        said.add("table_committed", table.rows().filter_map(|row| row.committed).max().unwrap_or(-1) as f64, &[]);
        said.add("table_status", sum(&|row| row.status as u8 as f64), &[]);
        said.add("table_at_least", count(&|row| row.lag_seconds_at_least), &[]);
        said.add("table_seconds", sum(&|row| row.lag_seconds.unwrap_or(0.0)), &[]);
        said.add("table_lost", sum(&|row| row.lost as f64), &[]);

        let topics = snapshot::topic_lags(&LagFilter::all())?;
        said.add("topic_rows", topics.len() as f64, &[]);
        said.add("topic_unknown", topics.iter().filter(|row| row.lag.is_none()).count() as f64, &[]);

        let parts = raw::partition_lags(&LagFilter::all())?;
        said.add("partition_commit_age", parts.iter().filter_map(|row| row.committed_at_ms).map(since).sum(), &[]);
        said.add("partition_at_least", parts.iter().filter(|row| row.lag_seconds_at_least).count() as f64, &[]);

        let series = snapshot::history(&LagFilter::all(), ctx.now_ms - 3_600_000, 10_000)?.series;
        said.add("history_points", series.iter().map(|series| series.points.len()).sum::<usize>() as f64, &[]);
        for series in series.iter().filter(|series| series.topic == "payments" && series.partition == 0) {
            if let (Some(first), Some(last)) = (series.points.first(), series.points.last()) {
                let span = last.at_ms - first.at_ms;
                said.add("history_span", span as f64, &[("group", &series.group), ("topic", &series.topic)]);
                said.add("history_committed", last.committed.unwrap_or(-1) as f64, &[]);
                said.add("history_end", last.log_end.unwrap_or(-1) as f64, &[]);
            }
        }

        let rate = match rates::rate("requests_total", Duration::from_secs(60)) {
            Ok(rates) => rates.iter().map(|sample| sample.value).sum(),
            Err(Error::Unavailable(_)) => -1.0,
            Err(error) => return Err(error.into()),
        };
        said.add("rate", rate, &[]);
        match snapshot::query("heap") {
            Ok(samples) => samples.iter().for_each(|sample| said.add("heap", sample.value, &pairs(&sample.labels))),
            Err(Error::Unavailable(_)) => said.add("heap", -1.0, &[]),
            Err(error) => return Err(error.into()),
        }
        said.add("query_refused", matches!(snapshot::query("{"), Err(Error::InvalidArgument(_))).into(), &[]);

        let alerts = own_alerts::active();
        said.add("alerts_firing", alerts.iter().filter(|alert| alert.state == State::Firing).count() as f64, &[]);
        said.add("alerts_pending", alerts.iter().filter(|alert| alert.state == State::Pending).count() as f64, &[]);
        for alert in alerts.iter() {
            said.add("alert_since", since(alert.active_since_ms), &pairs(&alert.labels));
            said.add("alert_value", alert.value.unwrap_or(-1.0), &[("name", &alert.name)]);
        }

        let actions = own_actions::recent();
        said.add("actions_waiting", actions.iter().filter(|one| one.state == ActionState::Waiting).count() as f64, &[]);
        said.add("actions_attempts", actions.iter().map(|one| one.attempts).sum::<u32>().into(), &[]);
        for one in actions.iter() {
            let took = one.ended_at_ms.map_or(-1.0, |ended| (ended - one.requested_at_ms) as f64);
            said.add("action_took", took, &[("name", &one.name), ("key", &one.key), ("text", &one.text)]);
        }

        let civil = time::in_zone("Asia/Seoul", ctx.now_ms)?;
        let date = civil.year * 10_000 + i32::from(civil.month) * 100 + i32::from(civil.day);
        said.add("zone_date", date.into(), &[]);
        let clock = i32::from(civil.hour) * 10_000 + i32::from(civil.minute) * 100 + i32::from(civil.second);
        said.add("zone_time", clock.into(), &[]);
        said.add("zone_weekday", civil.weekday.into(), &[]);
        said.add("zone_offset", civil.utc_offset_seconds.into(), &[]);
        let refused = matches!(time::in_zone("Mars/Olympus", ctx.now_ms), Err(Error::InvalidArgument(_)));
        said.add("zone_refused", refused.into(), &[]);

        for group in snapshot::groups(&[Pattern::Glob("o*".into())])? {
            let labels = [("group", &*group.name), ("state", &*group.state), ("kind", &*group.kind)];
            said.add("group_members", group.members.map_or(-1.0, f64::from), &labels);
            said.add("group_coordinator", group.coordinator.map_or(-1.0, f64::from), &[]);
        }
        for group in ["orders", "lost"] {
            let owns = match snapshot::owns(group) {
                Ownership::Owned => 0.0,
                Ownership::Elsewhere => 1.0,
                Ownership::Unknown => 2.0,
            };
            said.add("owns", owns, &[("group", group)]);
        }
        for target in snapshot::targets() {
            said.add("target_up", target.up.into(), &[("target", &target.name)]);
            said.add("target_age", target.last_success_ms.map_or(-1.0, since), &[("target", &target.name)]);
        }

        let before = state::get("runs").map_or(0, |text| String::from_utf8_lossy(&text).parse().unwrap_or(0));
        let runs: u32 = before + 1;
        state::set("runs", runs.to_string().as_bytes())?;
        said.add("state_runs", runs.into(), &[]);
        state::set("gone", b"x")?;
        said.add("state_keys", state::keys("").len() as f64, &[]);
        state::remove("gone");
        said.add("state_keys_left", state::keys("r").len() as f64, &[]);
        logging::log(logging::Level::Debug, "probed");

        let mut outcome: Outcome = vec![Alert::agent().name("Probe").label("kind", "probe").value(runs.into())].into();
        outcome.measurements = said.0;
        Ok(outcome)
    }
}

struct Said(Vec<Measurement>);

impl Said {
    fn add(&mut self, name: &str, value: f64, labels: &[(&str, &str)]) {
        let labels = labels.iter().map(|(name, value)| Label::new(*name, *value)).collect();
        self.0.push(Measurement { subject: Subject::Agent, name: name.to_owned(), labels, value });
    }
}

fn pairs(labels: &[Label]) -> Vec<(&str, &str)> {
    // The metric's own name is no label of a measurement.
    let labels = labels.iter().filter(|label| label.name != "__name__");
    labels.map(|label| (&*label.name, &*label.value)).collect()
}

impl MigratesState for Probe {
    const VERSION: u32 = 2;

    fn migrate(previous: u32) -> Result<(), String> {
        state::set("from", &previous.to_le_bytes()).map_err(|error| error.to_string())
    }
}

brokerwarden_rule::export_rule!(Probe, migrates_state);
