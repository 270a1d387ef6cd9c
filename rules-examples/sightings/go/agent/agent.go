// Package agent is what the agent calls, and what is asked of it. The decision is in package decide.
package agent

import (
	"strconv"

	"rule/decide"
	logging "rule/gen/imports/brokerwarden_rule_logging"
	actions "rule/gen/imports/brokerwarden_rule_own_actions"
	snapshot "rule/gen/imports/brokerwarden_rule_snapshot"
	state "rule/gen/imports/brokerwarden_rule_state"
	types "rule/gen/imports/brokerwarden_rule_types"
	wit "rule/gen/wit/types"
)

const page = 1000

// Check refuses a bad configuration, when the rule is loaded.
func Check(config string) wit.Result[wit.Unit, string] {
	if _, err := decide.ReadConfig(config); err != nil {
		return wit.Err[wit.Unit, string](err.Error())
	}
	return wit.Ok[wit.Unit, string](wit.Unit{})
}

// Evaluate says what holds at this snapshot.
func Evaluate(ctx types.Context) wit.Result[types.Outcome, types.Failure] {
	config, err := decide.ReadConfig(ctx.Config)
	if err != nil {
		return failed(types.MakeFailureFailed(err.Error()))
	}
	rows, failure := topicLags(config)
	if failure != nil {
		return failed(*failure)
	}
	became := asked(config.Action)
	outcome := types.Outcome{}
	for _, lag := range rows {
		row := decide.Row{Group: lag.Group, Topic: lag.Topic, LagKnown: lag.Lag.IsSome(), KnownLag: lag.KnownLag}
		key := row.Key()
		before := remembered(key)
		said := decide.Judge(row, config.Thresholds[row.Group], before, became[key])
		if said.Sightings == 0 {
			state.Remove(key)
		} else if said.Sightings != before {
			if set := state.Set(key, strconv.AppendInt(nil, said.Sightings, 10)); set.IsErr() {
				return failed(failureOf(set.Err()))
			}
		}
		if said.Summary == "" {
			continue
		}
		subject := types.MakeSubjectGroup(row.Group)
		labels := []types.Label{{Name: "consumergroup", Value: row.Group}, {Name: "topic", Value: row.Topic}}
		annotations := []types.Label{{Name: "summary", Value: said.Summary}}
		if said.Became != "" {
			annotations = append(annotations, types.Label{Name: "action", Value: said.Became})
		}
		outcome.Alerts = append(outcome.Alerts, types.Alert{
			Subject:     subject,
			Name:        decide.Alert,
			Labels:      labels,
			Annotations: annotations,
			Value:       wit.Some(float64(row.KnownLag)),
		})
		if said.Asks && config.Action != "" {
			logging.Log(logging.Level_Info, key+": asks for "+config.Action)
			messages := types.Label{Name: "messages", Value: strconv.FormatInt(row.KnownLag, 10)}
			outcome.Actions = append(outcome.Actions, types.Action{
				Subject: subject,
				Name:    config.Action,
				Params:  []types.Label{labels[0], labels[1], messages},
				Key:     key,
			})
		}
	}
	return wit.Ok[types.Outcome, types.Failure](outcome)
}

// topicLags asks for one row per group and topic, page by page: a page that is not full is the last one.
func topicLags(config decide.Config) ([]snapshot.TopicLag, *types.Failure) {
	filter := snapshot.LagFilter{MinLag: wit.None[int64](), Limit: page}
	for group := range config.Thresholds {
		filter.Groups = append(filter.Groups, snapshot.MakePatternExact(group))
	}
	var rows []snapshot.TopicLag
	for {
		answer := snapshot.TopicLags(filter)
		if answer.IsErr() {
			failure := failureOf(answer.Err())
			return nil, &failure
		}
		rows = append(rows, answer.Ok()...)
		if len(answer.Ok()) < page {
			return rows, nil
		}
		filter.Offset += page
	}
}

var states = map[actions.State]string{
	actions.State_Waiting:  "waiting",
	actions.State_Done:     "done",
	actions.State_Failed:   "failed",
	actions.State_Expired:  "expired",
	actions.State_DryRun:   "dry-run",
	actions.State_Silenced: "silenced",
	actions.State_Dropped:  "dropped",
}

// asked says by key what became of an action. The agent tells the last request of each key first.
func asked(name string) map[string]string {
	became := map[string]string{}
	for _, action := range actions.Recent() {
		if _, told := became[action.Key]; !told && action.Name == name {
			became[action.Key] = decide.Became(states[action.State], action.Text)
		}
	}
	return became
}

func remembered(key string) int64 {
	before, err := strconv.ParseInt(string(state.Get(key).SomeOr(nil)), 10, 64)
	if err != nil {
		return 0 // not seen yet
	}
	return before
}

// failureOf says what an error of the agent means: what was not observed is nobody's fault.
func failureOf(err types.Error) types.Failure {
	switch err.Tag() {
	case types.Error_Unavailable:
		return types.MakeFailureUnavailable(err.Unavailable())
	case types.Error_LimitExceeded:
		return types.MakeFailureFailed(err.LimitExceeded())
	default:
		return types.MakeFailureFailed(err.InvalidArgument())
	}
}

func failed(failure types.Failure) wit.Result[types.Outcome, types.Failure] {
	return wit.Err[types.Outcome, types.Failure](failure)
}
