// Package decide is the decision, without the agent: plain functions, so that `go test ./decide` runs them anywhere.
package decide

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
)

const (
	// Alert is the alert's name.
	Alert = "ConsumerGroupBehind"
	// Sightings in a row after which the action is asked for.
	Sightings = 3
	// Beyond 2^53 not every language can tell numbers in JSON apart.
	largest = 1<<53 - 1
)

// Config is the `config:` block.
type Config struct {
	Thresholds map[string]int64
	// Action is empty where there is none.
	Action string
}

// ReadConfig reads the `config:` block. An error is one sentence for the person who wrote the YAML, with the key in it.
func ReadConfig(text string) (Config, error) {
	var keys map[string]json.RawMessage
	if err := json.Unmarshal([]byte(text), &keys); err != nil || keys == nil {
		return Config{}, errors.New("config: must be keys with values")
	}
	for key := range keys {
		if key != "thresholds" && key != "action" {
			return Config{}, fmt.Errorf("config.%s: unknown field `%s`, expected `thresholds` or `action`", key, key)
		}
	}
	thresholds, err := readThresholds(keys["thresholds"])
	if err != nil {
		return Config{}, err
	}
	action := ""
	if raw, there := keys["action"]; there && string(raw) != "null" {
		if json.Unmarshal(raw, &action) != nil || action == "" {
			return Config{}, errors.New("config.action: must be the name of an action")
		}
	}
	return Config{thresholds, action}, nil
}

func readThresholds(raw json.RawMessage) (map[string]int64, error) {
	if raw == nil {
		return nil, errors.New("config: missing field `thresholds`")
	}
	var texts map[string]json.RawMessage
	if err := json.Unmarshal(raw, &texts); err != nil || texts == nil {
		return nil, errors.New("config.thresholds: must be groups with their thresholds")
	}
	thresholds := make(map[string]int64, len(texts))
	for group, text := range texts {
		messages, err := strconv.ParseInt(string(text), 10, 64)
		if err != nil || messages < 0 || messages > largest {
			return nil, fmt.Errorf("config.thresholds.%s: must be a whole number of messages, 0 or more", group)
		}
		thresholds[group] = messages
	}
	if len(thresholds) == 0 {
		return nil, errors.New("config.thresholds: names no group")
	}
	return thresholds, nil
}

// Row is one group on one topic.
type Row struct {
	Group, Topic string
	// LagKnown is false while a partition is unknown; KnownLag is the sum over the others.
	LagKnown bool
	KnownLag int64
}

// Key is under which sightings are remembered; also what makes two requests of an action the same deed.
func (row Row) Key() string {
	return row.Group + "/" + row.Topic
}

// Said is what to say of one row.
type Said struct {
	// Sightings in a row, to be remembered.
	Sightings int64
	// Summary of the alert; empty where there is none.
	Summary string
	// Asks is whether it is time for the action.
	Asks bool
	// Became of the action, to be told with the alert; empty where there is nothing to tell.
	Became string
}

// Judge judges one row after a number of sightings. A lag that is not known is neither a sighting nor its end.
// What became of the action when it was last asked for is told from the sighting after that on; empty: it was not asked for.
func Judge(row Row, threshold, before int64, became string) Said {
	if row.KnownLag <= threshold {
		if row.LagKnown {
			return Said{}
		}
		return Said{Sightings: before}
	}
	sightings, atLeast := before+1, ""
	if !row.LagKnown {
		atLeast = "at least "
	}
	summary := fmt.Sprintf("%s is %s%d messages behind on %s (sighting %d)",
		row.Group, atLeast, row.KnownLag, row.Topic, sightings)
	if sightings <= Sightings {
		became = ""
	}
	return Said{sightings, summary, sightings == Sightings, became}
}

// Became is what to say of an action: its state in a word, and what was said of it, if anything.
func Became(state, text string) string {
	if text == "" {
		return state
	}
	return state + ": " + text
}
