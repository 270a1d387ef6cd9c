// What the agent calls, and what is asked of the agent. The decision is in decide.c.
#include "decide.h"
#include "gen/checked_rule.h"
#include <stdlib.h>
#include <string.h>

#define PAGE 1000

typedef checked_rule_string_t string;
typedef brokerwarden_rule_types_label_t label;
typedef brokerwarden_rule_types_list_label_t labels;
typedef brokerwarden_rule_types_subject_t subject;
typedef brokerwarden_rule_snapshot_topic_lag_t row;
typedef brokerwarden_rule_own_actions_list_own_action_t own_actions;
typedef exports_brokerwarden_rule_evaluator_outcome_t outcome;
typedef exports_brokerwarden_rule_evaluator_failure_t failure;

// A copy: all that is returned to the agent is freed afterwards, each piece by itself.
static string copy(const char *text) {
  string copy;
  checked_rule_string_dup(&copy, text);
  return copy;
}

static const char *text(string string) { return format("%.*s", (int)string.len, (const char *)string.ptr); }

static void *room(size_t count, size_t size) {
  void *room = calloc(count == 0 ? 1 : count, size);
  if (room == NULL) abort();
  return room;
}

static failure own_fault(const char *error) {
  return (failure){BROKERWARDEN_RULE_TYPES_FAILURE_FAILED, {.failed = copy(error)}};
}

// What an error of the agent means: what was not observed is nobody's fault.
static failure failure_of(brokerwarden_rule_types_error_t error) {
  bool unavailable = error.tag == BROKERWARDEN_RULE_TYPES_ERROR_UNAVAILABLE;
  // All variants of the error are one string.
  return (failure){unavailable ? BROKERWARDEN_RULE_TYPES_FAILURE_UNAVAILABLE : BROKERWARDEN_RULE_TYPES_FAILURE_FAILED,
                   {.failed = error.val.unavailable}};
}

bool exports_brokerwarden_rule_config_check_check(string *config, string *error) {
  struct config read;
  const char *problem;
  if (read_config((const char *)config->ptr, config->len, &read, &problem)) return true;
  *error = copy(problem);
  return false;
}

static long long remembered(const char *key) {
  string name = copy(key);
  checked_rule_list_u8_t value;
  if (!brokerwarden_rule_state_get(&name, &value)) return 0;
  return strtoll(format("%.*s", (int)value.len, (const char *)value.ptr), NULL, 10);
}

static bool remember(const char *key, long long sightings, failure *failed) {
  string name = copy(key), value = copy(format("%lld", sightings));
  if (sightings == 0) return brokerwarden_rule_state_remove(&name), true;
  brokerwarden_rule_types_error_t error;
  if (brokerwarden_rule_state_set(&name, &(checked_rule_list_u8_t){value.ptr, value.len}, &error)) return true;
  *failed = failure_of(error);
  return false;
}

static labels labels_of(const row *row, size_t further) {
  labels labels = {room(2 + further, sizeof(label)), 2};
  labels.ptr[0] = (label){copy("consumergroup"), copy(text(row->group))};
  labels.ptr[1] = (label){copy("topic"), copy(text(row->topic))};
  return labels;
}

static subject subject_of(const row *row) {
  return (subject){BROKERWARDEN_RULE_TYPES_SUBJECT_GROUP, {.group = copy(text(row->group))}};
}

// What became of an action; NULL: it was not asked for. The agent tells the last request of each key first.
static const char *became(const own_actions *asked, const char *name, const char *key) {
  static const char *const states[] = {"waiting", "done", "failed", "expired", "dry-run", "silenced", "dropped"};
  for (size_t i = 0; name != NULL && i < asked->len; i++) {
    const brokerwarden_rule_own_actions_own_action_t *action = &asked->ptr[i];
    if (strcmp(text(action->name), name) != 0 || strcmp(text(action->key), key) != 0) continue;
    const char *state = action->state < sizeof states / sizeof *states ? states[action->state] : "unknown";
    return action->text.len == 0 ? state : format("%s: %s", state, text(action->text));
  }
  return NULL;
}

static void add_alert(outcome *outcome, const row *row, const struct said *said) {
  labels annotations = {room(2, sizeof(label)), 1};
  annotations.ptr[0] = (label){copy("summary"), copy(said->summary)};
  if (said->became != NULL) annotations.ptr[annotations.len++] = (label){copy("action"), copy(said->became)};
  outcome->alerts.ptr[outcome->alerts.len++] = (brokerwarden_rule_types_alert_t){
      subject_of(row), copy(ALERT), labels_of(row, 0), annotations, {true, (double)row->known_lag}};
}

static void add_action(outcome *outcome, const row *row, const char *name, const char *key) {
  string line = copy(format("%s: asks for %s", key, name));
  brokerwarden_rule_logging_log(BROKERWARDEN_RULE_LOGGING_LEVEL_INFO, &line);
  labels params = labels_of(row, 1);
  params.ptr[params.len++] = (label){copy("messages"), copy(format("%lld", (long long)row->known_lag))};
  outcome->actions.ptr[outcome->actions.len++] =
      (brokerwarden_rule_types_action_t){subject_of(row), copy(name), params, copy(key)};
}

// All rows of the groups that are looked at, page by page: a page that is not full is the last one.
static bool ask(const struct config *config, row **rows, size_t *count, failure *failed) {
  brokerwarden_rule_snapshot_lag_filter_t filter = {.limit = PAGE};
  filter.groups.ptr = room(config->count, sizeof *filter.groups.ptr);
  filter.groups.len = config->count;
  for (size_t i = 0; i < config->count; i++) {
    filter.groups.ptr[i].tag = BROKERWARDEN_RULE_SNAPSHOT_PATTERN_EXACT;
    filter.groups.ptr[i].val.exact = copy(config->thresholds[i].group);
  }
  *rows = NULL;
  *count = 0;
  for (;; filter.offset += PAGE) {
    brokerwarden_rule_snapshot_list_topic_lag_t page;
    brokerwarden_rule_types_error_t error;
    if (!brokerwarden_rule_snapshot_topic_lags(&filter, &page, &error)) return *failed = failure_of(error), false;
    *rows = realloc(*rows, (*count + page.len + 1) * sizeof **rows);
    if (*rows == NULL) abort();
    memcpy(*rows + *count, page.ptr, page.len * sizeof **rows);
    *count += page.len;
    if (page.len < PAGE) return true;
  }
}

bool exports_brokerwarden_rule_evaluator_evaluate(exports_brokerwarden_rule_evaluator_context_t *ctx, outcome *outcome,
                                                  failure *failed) {
  struct config config;
  const char *error;
  if (!read_config((const char *)ctx->config.ptr, ctx->config.len, &config, &error)) {
    return *failed = own_fault(error), false;
  }
  row *rows;
  size_t count;
  if (!ask(&config, &rows, &count, failed)) return false;
  own_actions asked;
  brokerwarden_rule_own_actions_recent(&asked);
  memset(outcome, 0, sizeof *outcome);
  outcome->alerts.ptr = room(count, sizeof *outcome->alerts.ptr);
  outcome->actions.ptr = room(count, sizeof *outcome->actions.ptr);
  for (const row *row = rows; row < rows + count; row++) {
    const struct threshold *threshold = threshold_of(&config, (const char *)row->group.ptr, row->group.len);
    if (threshold == NULL) continue; // not asked for
    // Under which sightings are remembered; also what makes two requests of an action the same deed.
    const char *key = format("%s/%s", text(row->group), text(row->topic));
    long long before = remembered(key);
    struct said said =
        judge(text(row->group), text(row->topic), row->lag.is_some, row->known_lag, threshold->messages, before,
              became(&asked, config.action, key));
    if (said.sightings != before && !remember(key, said.sightings, failed)) return false;
    if (said.summary != NULL) add_alert(outcome, row, &said);
    if (said.asks && config.action != NULL) add_action(outcome, row, config.action, key);
  }
  return true;
}
