// Asks for something of each interface, and measures what came.
#include "gen/checked_rule.h"
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef checked_rule_string_t string;
typedef brokerwarden_rule_types_label_t label;
typedef brokerwarden_rule_types_list_label_t labels;
typedef brokerwarden_rule_types_error_t error;

static brokerwarden_rule_types_list_measurement_t said;
static uint64_t now;

static string copy(const char *text) {
  string copy;
  checked_rule_string_dup(&copy, text);
  return copy;
}

static string same(string text) {
  string copy;
  checked_rule_string_dup_n(&copy, (const char *)text.ptr, text.len);
  return copy;
}

static bool is(string text, const char *other) {
  return text.len == strlen(other) && memcmp(text.ptr, other, text.len) == 0;
}

static double since(uint64_t at) { return (double)(now - at) / 1000; }

static void add_labels(const char *name, double value, labels labels) {
  said.ptr = realloc(said.ptr, (said.len + 1) * sizeof *said.ptr);
  if (said.ptr == NULL) abort();
  said.ptr[said.len++] = (brokerwarden_rule_types_measurement_t){
      {.tag = BROKERWARDEN_RULE_TYPES_SUBJECT_AGENT}, copy(name), labels, value};
}

// Names and values of labels follow, `count` of each: const char *, string.
static void add(const char *name, double value, size_t count, ...) {
  labels labels = {calloc(count + 1, sizeof(label)), count};
  va_list rest;
  va_start(rest, count);
  for (size_t i = 0; i < count; i++) {
    labels.ptr[i].name = copy(va_arg(rest, const char *));
    labels.ptr[i].value = same(va_arg(rest, string));
  }
  va_end(rest);
  add_labels(name, value, labels);
}

static labels all_of(const label *given, size_t count) {
  labels labels = {calloc(count + 1, sizeof(label)), 0};
  for (size_t i = 0; i < count; i++) {
    // The metric's own name is no label of a measurement.
    if (!is(given[i].name, "__name__")) labels.ptr[labels.len++] = (label){same(given[i].name), same(given[i].value)};
  }
  return labels;
}

bool exports_brokerwarden_rule_config_check_check(string *config, string *error) {
  (void)config, (void)error;
  return true;
}

static void columns(const brokerwarden_rule_snapshot_lag_columns_t *table) {
  size_t count = table->group.len;
  add("table_rows", (double)count, 0);
  if (count > 0) {
    size_t last = count - 1;
    add("table_last", table->partition.ptr[last], 2, "group", table->names.ptr[table->group.ptr[last]], "topic",
        table->names.ptr[table->topic.ptr[last]]);
  }
  double lag = 0, absent = 0, status = 0, at_least = 0, seconds = 0, lost = 0;
  int64_t committed = -1;
  for (size_t i = 0; i < count; i++) {
    if (table->lag.ptr[i] == INT64_MIN) absent++;
    else lag += (double)table->lag.ptr[i];
    if (table->committed.ptr[i] > committed) committed = table->committed.ptr[i];
    status += table->status.ptr[i] & 127;
    at_least += table->status.ptr[i] >> 7;
    if (!isnan(table->lag_seconds.ptr[i])) seconds += table->lag_seconds.ptr[i];
    lost += (double)table->lost.ptr[i];
  }
  add("table_lag", lag, 0);
  add("table_no_lag", absent, 0);
  add("table_committed", (double)committed, 0);
  add("table_status", status, 0);
  add("table_at_least", at_least, 0);
  add("table_seconds", seconds, 0);
  add("table_lost", lost, 0);
}

static bool kafka(error *failed) {
  brokerwarden_rule_snapshot_lag_filter_t all = {0};
  brokerwarden_rule_snapshot_lag_columns_t table;
  if (!brokerwarden_rule_snapshot_lag_table(&all, &table, failed)) return false;
  columns(&table);

  brokerwarden_rule_snapshot_list_topic_lag_t topics;
  if (!brokerwarden_rule_snapshot_topic_lags(&all, &topics, failed)) return false;
  double unknown = 0, age = 0, at_least = 0, points = 0;
  for (size_t i = 0; i < topics.len; i++) unknown += !topics.ptr[i].lag.is_some;
  add("topic_rows", (double)topics.len, 0);
  add("topic_unknown", unknown, 0);

  brokerwarden_rule_snapshot_list_partition_lag_t parts;
  if (!brokerwarden_rule_snapshot_partition_lags(&all, &parts, failed)) return false;
  for (size_t i = 0; i < parts.len; i++) {
    if (parts.ptr[i].committed_at_ms.is_some) age += since(parts.ptr[i].committed_at_ms.val);
    at_least += parts.ptr[i].lag_seconds_at_least;
  }
  add("partition_commit_age", age, 0);
  add("partition_at_least", at_least, 0);

  brokerwarden_rule_snapshot_list_series_t series;
  if (!brokerwarden_rule_snapshot_history(&all, now - 3600000, &series, failed)) return false;
  for (size_t i = 0; i < series.len; i++) {
    const brokerwarden_rule_snapshot_series_t *one = &series.ptr[i];
    points += (double)one->points.len;
    if (!is(one->topic, "payments") || one->partition != 0) continue;
    const brokerwarden_rule_snapshot_point_t *oldest = one->points.ptr, *newest = oldest + one->points.len - 1;
    add("history_span", (double)(newest->at_ms - oldest->at_ms), 2, "group", one->group, "topic", one->topic);
    add("history_committed", newest->committed.is_some ? (double)newest->committed.val : -1, 0);
    add("history_end", newest->log_end.is_some ? (double)newest->log_end.val : -1, 0);
  }
  add("history_points", points, 0);

  brokerwarden_rule_snapshot_pattern_t glob = {BROKERWARDEN_RULE_SNAPSHOT_PATTERN_GLOB, {.glob = copy("o*")}};
  brokerwarden_rule_snapshot_list_group_t groups;
  if (!brokerwarden_rule_snapshot_groups(&(brokerwarden_rule_snapshot_list_pattern_t){&glob, 1}, &groups, failed)) {
    return false;
  }
  for (size_t i = 0; i < groups.len; i++) {
    const brokerwarden_rule_snapshot_group_t *group = &groups.ptr[i];
    add("group_members", group->members.is_some ? group->members.val : -1, 3, "group", group->name, "state", group->state,
        "kind", group->kind);
    add("group_coordinator", group->coordinator.is_some ? group->coordinator.val : -1, 0);
  }
  const char *asked[] = {"orders", "lost"};
  for (size_t i = 0; i < 2; i++) {
    string group = copy(asked[i]);
    add("owns", brokerwarden_rule_snapshot_owns(&group), 1, "group", group);
  }
  brokerwarden_rule_snapshot_list_target_t targets;
  brokerwarden_rule_snapshot_targets(&targets);
  for (size_t i = 0; i < targets.len; i++) {
    const brokerwarden_rule_snapshot_target_t *target = &targets.ptr[i];
    add("target_up", target->up, 1, "target", target->name);
    add("target_age", target->last_success_ms.is_some ? since(target->last_success_ms.val) : -1, 1, "target", target->name);
  }
  return true;
}

static bool samples(error *failed) {
  string requests = copy("requests_total"), heap = copy("heap"), bad = copy("{");
  brokerwarden_rule_rates_list_sample_t rates;
  double rate = 0;
  if (brokerwarden_rule_rates_rate(&requests, 60000, &rates, failed)) {
    for (size_t i = 0; i < rates.len; i++) rate += rates.ptr[i].value;
  } else if (failed->tag == BROKERWARDEN_RULE_TYPES_ERROR_UNAVAILABLE) {
    rate = -1;
  } else {
    return false;
  }
  add("rate", rate, 0);
  brokerwarden_rule_snapshot_list_sample_t found;
  if (brokerwarden_rule_snapshot_query(&heap, &found, failed)) {
    for (size_t i = 0; i < found.len; i++) {
      add_labels("heap", found.ptr[i].value, all_of(found.ptr[i].labels.ptr, found.ptr[i].labels.len));
    }
  } else if (failed->tag == BROKERWARDEN_RULE_TYPES_ERROR_UNAVAILABLE) {
    add("heap", -1, 0);
  } else {
    return false;
  }
  bool refused = !brokerwarden_rule_snapshot_query(&bad, &found, failed);
  add("query_refused", refused && failed->tag == BROKERWARDEN_RULE_TYPES_ERROR_INVALID_ARGUMENT, 0);
  return true;
}

static void own(void) {
  brokerwarden_rule_own_alerts_list_active_alert_t alerts;
  brokerwarden_rule_own_alerts_active(&alerts);
  double firing = 0, pending = 0, waiting = 0, attempts = 0;
  for (size_t i = 0; i < alerts.len; i++) {
    const brokerwarden_rule_own_alerts_active_alert_t *alert = &alerts.ptr[i];
    firing += alert->state == BROKERWARDEN_RULE_OWN_ALERTS_STATE_FIRING;
    pending += alert->state == BROKERWARDEN_RULE_OWN_ALERTS_STATE_PENDING;
    add_labels("alert_since", since(alert->active_since_ms), all_of(alert->labels.ptr, alert->labels.len));
    add("alert_value", alert->value.is_some ? alert->value.val : -1, 1, "name", alert->name);
  }
  add("alerts_firing", firing, 0);
  add("alerts_pending", pending, 0);
  brokerwarden_rule_own_actions_list_own_action_t actions;
  brokerwarden_rule_own_actions_recent(&actions);
  for (size_t i = 0; i < actions.len; i++) {
    const brokerwarden_rule_own_actions_own_action_t *action = &actions.ptr[i];
    waiting += action->state == BROKERWARDEN_RULE_OWN_ACTIONS_STATE_WAITING;
    attempts += action->attempts;
    double took = action->ended_at_ms.is_some ? (double)(action->ended_at_ms.val - action->requested_at_ms) : -1;
    add("action_took", took, 3, "name", action->name, "key", action->key, "text", action->text);
  }
  add("actions_waiting", waiting, 0);
  add("actions_attempts", attempts, 0);
}

static bool civil(error *failed) {
  string zone = copy("Asia/Seoul"), nowhere = copy("Mars/Olympus");
  brokerwarden_rule_time_civil_time_t there;
  if (!brokerwarden_rule_time_in_zone(&zone, now, &there, failed)) return false;
  add("zone_date", there.year * 10000 + there.month * 100 + there.day, 0);
  add("zone_time", there.hour * 10000 + there.minute * 100 + there.second, 0);
  add("zone_weekday", there.weekday, 0);
  add("zone_offset", there.utc_offset_seconds, 0);
  bool refused = !brokerwarden_rule_time_in_zone(&nowhere, now, &there, failed);
  add("zone_refused", refused && failed->tag == BROKERWARDEN_RULE_TYPES_ERROR_INVALID_ARGUMENT, 0);
  return true;
}

static size_t keys_of(const char *prefix) {
  string wanted = copy(prefix);
  checked_rule_list_string_t keys;
  brokerwarden_rule_state_keys(&wanted, &keys);
  return keys.len;
}

static bool remember(const char *key, const char *value, error *failed) {
  string name = copy(key), bytes = copy(value);
  return brokerwarden_rule_state_set(&name, &(checked_rule_list_u8_t){bytes.ptr, bytes.len}, failed);
}

bool exports_brokerwarden_rule_evaluator_evaluate(exports_brokerwarden_rule_evaluator_context_t *ctx,
                                                  exports_brokerwarden_rule_evaluator_outcome_t *outcome,
                                                  exports_brokerwarden_rule_evaluator_failure_t *failure) {
  now = ctx->now_ms;
  error failed;
  add("now", (double)now, 1, "cluster", ctx->cluster);
  add("interval", (double)ctx->interval_ms, 0);
  if (!kafka(&failed) || !samples(&failed) || !civil(&failed)) {
    bool unavailable = failed.tag == BROKERWARDEN_RULE_TYPES_ERROR_UNAVAILABLE;
    *failure = (exports_brokerwarden_rule_evaluator_failure_t){
        unavailable ? BROKERWARDEN_RULE_TYPES_FAILURE_UNAVAILABLE : BROKERWARDEN_RULE_TYPES_FAILURE_FAILED,
        {.failed = failed.val.unavailable}};
    return false;
  }
  own();

  string key = copy("runs"), gone = copy("gone");
  checked_rule_list_u8_t before;
  int runs = 1;
  char text[20] = "";
  if (brokerwarden_rule_state_get(&key, &before)) {
    snprintf(text, sizeof text, "%.*s", (int)before.len, (const char *)before.ptr);
    runs += atoi(text);
  }
  snprintf(text, sizeof text, "%d", runs);
  if (!remember("runs", text, &failed) || !remember("gone", "x", &failed)) abort();
  add("state_runs", runs, 0);
  add("state_keys", (double)keys_of(""), 0);
  brokerwarden_rule_state_remove(&gone);
  add("state_keys_left", (double)keys_of("r"), 0);
  string line = copy("probed");
  brokerwarden_rule_logging_log(BROKERWARDEN_RULE_LOGGING_LEVEL_DEBUG, &line);

  memset(outcome, 0, sizeof *outcome);
  label kind = {copy("kind"), copy("probe")};
  outcome->alerts.ptr = calloc(1, sizeof *outcome->alerts.ptr);
  outcome->alerts.len = 1;
  outcome->alerts.ptr[0] = (brokerwarden_rule_types_alert_t){
      {.tag = BROKERWARDEN_RULE_TYPES_SUBJECT_AGENT}, copy("Probe"), all_of(&kind, 1), {NULL, 0}, {true, runs}};
  outcome->measurements = said;
  return true;
}
