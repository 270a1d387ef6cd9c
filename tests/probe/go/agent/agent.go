// Package agent asks for something of each interface, and measures what came.
package agent

import (
	"math"
	"strconv"

	logging "rule/gen/imports/brokerwarden_rule_logging"
	actions "rule/gen/imports/brokerwarden_rule_own_actions"
	alerts "rule/gen/imports/brokerwarden_rule_own_alerts"
	rates "rule/gen/imports/brokerwarden_rule_rates"
	snapshot "rule/gen/imports/brokerwarden_rule_snapshot"
	state "rule/gen/imports/brokerwarden_rule_state"
	zones "rule/gen/imports/brokerwarden_rule_time"
	types "rule/gen/imports/brokerwarden_rule_types"
	wit "rule/gen/wit/types"
)

var said []types.Measurement

func add(name string, value float64, labels ...types.Label) {
	said = append(said, types.Measurement{Subject: types.MakeSubjectAgent(), Name: name, Labels: labels, Value: value})
}

func label(name, value string) types.Label { return types.Label{Name: name, Value: value} }

func one(is bool) float64 {
	if is {
		return 1
	}
	return 0
}

// Check takes any configuration.
func Check(string) wit.Result[wit.Unit, string] { return wit.Ok[wit.Unit, string](wit.Unit{}) }

// Evaluate asks and measures.
func Evaluate(ctx types.Context) wit.Result[types.Outcome, types.Failure] {
	since := func(at uint64) float64 { return float64(ctx.NowMs-at) / 1000 }
	add("now", float64(ctx.NowMs), label("cluster", ctx.Cluster))
	add("interval", float64(ctx.IntervalMs))
	all := snapshot.LagFilter{MinLag: wit.None[int64]()}
	table := snapshot.LagTable(all)
	if table.IsErr() {
		return wit.Err[types.Outcome, types.Failure](types.MakeFailureUnavailable("no table"))
	}
	columns(table.Ok())
	rows(all, since)
	past(all, ctx)
	samples()
	own(since)
	civil(ctx)
	kafka(since)

	runs, err := strconv.Atoi(string(state.Get("runs").SomeOr(nil)))
	if err != nil {
		runs = 0
	}
	runs++
	state.Set("runs", []byte(strconv.Itoa(runs)))
	add("state_runs", float64(runs))
	state.Set("gone", []byte("x"))
	add("state_keys", float64(len(state.Keys(""))))
	state.Remove("gone")
	add("state_keys_left", float64(len(state.Keys("r"))))
	logging.Log(logging.Level_Debug, "probed")

	alert := types.Alert{
		Subject: types.MakeSubjectAgent(),
		Name:    "Probe",
		Labels:  []types.Label{label("kind", "probe")},
		Value:   wit.Some(float64(runs)),
	}
	return wit.Ok[types.Outcome, types.Failure](types.Outcome{Alerts: []types.Alert{alert}, Measurements: said})
}

func columns(table snapshot.LagColumns) {
	add("table_rows", float64(len(table.Group)))
	if last := len(table.Group) - 1; last >= 0 {
		add("table_last", float64(table.Partition[last]),
			label("group", table.Names[table.Group[last]]), label("topic", table.Names[table.Topic[last]]))
	}
	var lag, absent, status, atLeast, seconds, lost float64
	committed := int64(-1)
	for i := range table.Group {
		if table.Lag[i] == math.MinInt64 {
			absent++
		} else {
			lag += float64(table.Lag[i])
		}
		committed = max(committed, table.Committed[i])
		status += float64(table.Status[i] & 127)
		atLeast += one(table.Status[i]&128 != 0)
		if !math.IsNaN(table.LagSeconds[i]) {
			seconds += table.LagSeconds[i]
		}
		lost += float64(table.Lost[i])
	}
	add("table_lag", lag)
	add("table_no_lag", absent)
	add("table_committed", float64(committed))
	add("table_status", status)
	add("table_at_least", atLeast)
	add("table_seconds", seconds)
	add("table_lost", lost)
}

func rows(all snapshot.LagFilter, since func(uint64) float64) {
	topics := snapshot.TopicLags(all).Ok()
	var unknown, age, atLeast float64
	for _, row := range topics {
		unknown += one(row.Lag.IsNone())
	}
	add("topic_rows", float64(len(topics)))
	add("topic_unknown", unknown)
	for _, row := range snapshot.PartitionLags(all).Ok() {
		if row.CommittedAtMs.IsSome() {
			age += since(row.CommittedAtMs.Some())
		}
		atLeast += one(row.LagSecondsAtLeast)
	}
	add("partition_commit_age", age)
	add("partition_at_least", atLeast)
}

func past(all snapshot.LagFilter, ctx types.Context) {
	var count int
	for _, series := range snapshot.History(all, ctx.NowMs-3_600_000).Ok() {
		count += len(series.Points)
		if series.Topic != "payments" || series.Partition != 0 {
			continue
		}
		oldest, newest := series.Points[0], series.Points[len(series.Points)-1]
		add("history_span", float64(newest.AtMs-oldest.AtMs), label("group", series.Group), label("topic", series.Topic))
		add("history_committed", float64(newest.Committed.SomeOr(-1)))
		add("history_end", float64(newest.LogEnd.SomeOr(-1)))
	}
	add("history_points", float64(count))
}

func samples() {
	rate := -1.0
	if answer := rates.Rate("requests_total", 60_000); answer.IsOk() {
		rate = 0
		for _, sample := range answer.Ok() {
			rate += sample.Value
		}
	} else if answer.Err().Tag() != types.Error_Unavailable {
		rate = -2
	}
	add("rate", rate)
	if answer := snapshot.Query("heap"); answer.IsOk() {
		for _, sample := range answer.Ok() {
			var labels []types.Label
			for _, label := range sample.Labels {
				// The metric's own name is no label of a measurement.
				if label.Name != "__name__" {
					labels = append(labels, label)
				}
			}
			add("heap", sample.Value, labels...)
		}
	} else if answer.Err().Tag() == types.Error_Unavailable {
		add("heap", -1)
	}
	refused := snapshot.Query("{")
	add("query_refused", one(refused.IsErr() && refused.Err().Tag() == types.Error_InvalidArgument))
}

func own(since func(uint64) float64) {
	var firing, pending, waiting, attempts float64
	for _, alert := range alerts.Active() {
		firing += one(alert.State == alerts.State_Firing)
		pending += one(alert.State == alerts.State_Pending)
		add("alert_since", since(alert.ActiveSinceMs), alert.Labels...)
		add("alert_value", alert.Value.SomeOr(-1), label("name", alert.Name))
	}
	add("alerts_firing", firing)
	add("alerts_pending", pending)
	for _, action := range actions.Recent() {
		waiting += one(action.State == actions.State_Waiting)
		attempts += float64(action.Attempts)
		took := -1.0
		if action.EndedAtMs.IsSome() {
			took = float64(action.EndedAtMs.Some() - action.RequestedAtMs)
		}
		add("action_took", took, label("name", action.Name), label("key", action.Key), label("text", action.Text))
	}
	add("actions_waiting", waiting)
	add("actions_attempts", attempts)
}

func civil(ctx types.Context) {
	there := zones.InZone("Asia/Seoul", ctx.NowMs).Ok()
	add("zone_date", float64(int(there.Year)*10_000+int(there.Month)*100+int(there.Day)))
	add("zone_time", float64(int(there.Hour)*10_000+int(there.Minute)*100+int(there.Second)))
	add("zone_weekday", float64(there.Weekday))
	add("zone_offset", float64(there.UtcOffsetSeconds))
	refused := zones.InZone("Mars/Olympus", ctx.NowMs)
	add("zone_refused", one(refused.IsErr() && refused.Err().Tag() == types.Error_InvalidArgument))
}

func kafka(since func(uint64) float64) {
	number := func(option wit.Option[uint32]) float64 {
		if option.IsNone() {
			return -1
		}
		return float64(option.Some())
	}
	for _, group := range snapshot.Groups([]snapshot.Pattern{snapshot.MakePatternGlob("o*")}).Ok() {
		add("group_members", number(group.Members),
			label("group", group.Name), label("state", group.State), label("kind", group.Kind))
		add("group_coordinator", number(group.Coordinator))
	}
	for _, group := range []string{"orders", "lost"} {
		add("owns", float64(snapshot.Owns(group)), label("group", group))
	}
	for _, target := range snapshot.Targets() {
		age := -1.0
		if target.LastSuccessMs.IsSome() {
			age = since(target.LastSuccessMs.Some())
		}
		add("target_up", one(target.Up), label("target", target.Name))
		add("target_age", age, label("target", target.Name))
	}
}
