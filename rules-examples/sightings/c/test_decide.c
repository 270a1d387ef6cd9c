#undef NDEBUG
#include "decide.h"
#include <assert.h>
#include <stdio.h>
#include <string.h>

static void the_third_sighting_in_a_row_asks_for_the_action_once(void) {
  for (long long before = 0; before < 4; before++) {
    assert(judge("orders", "payments", true, 101, 100, before, NULL).asks == (before == 2));
  }
}

static void what_became_of_the_action_is_told_once_it_was_asked_for(void) {
  assert(judge("orders", "payments", true, 101, 100, 2, "failed: HTTP 503").became == NULL);
  assert(strcmp(judge("orders", "payments", true, 101, 100, 3, "failed: HTTP 503").became, "failed: HTTP 503") == 0);
}

static void a_lag_that_is_not_known_is_neither_a_sighting_nor_its_end(void) {
  assert(judge("orders", "payments", true, 100, 100, 2, NULL).sightings == 0);
  assert(judge("orders", "payments", false, 100, 100, 2, NULL).sightings == 2);
}

static bool reads(const char *json, struct config *config, const char **error) {
  return read_config(json, strlen(json), config, error);
}

static void a_configuration_is_read_or_refused_with_its_key(void) {
  struct config config;
  const char *error;
  assert(reads("{\"action\": null, \"thresholds\": {\"a \\\"b\\\" \\u00e9\\ud83d\\ude00\": 7, \"c\": 0}}", &config, &error));
  assert(config.count == 2 && config.action == NULL && threshold_of(&config, "c", 1)->messages == 0);
  assert(strcmp(config.thresholds[0].group, "a \"b\" \u00e9\U0001F600") == 0 && config.thresholds[0].messages == 7);
  assert(threshold_of(&config, "cc", 2) == NULL);
  assert(!reads("{\"thresholds\":{\"orders\":-1}}", &config, &error));
  assert(strncmp(error, "config.thresholds.orders: ", 26) == 0);
  assert(!reads("{\"x\": [{\"y\": \"}]\"}, 1], \"thresholds\": {}}", &config, &error) && strncmp(error, "config.x: ", 10) == 0);
}

int main(void) {
  the_third_sighting_in_a_row_asks_for_the_action_once();
  what_became_of_the_action_is_told_once_it_was_asked_for();
  a_lag_that_is_not_known_is_neither_a_sighting_nor_its_end();
  a_configuration_is_read_or_refused_with_its_key();
  puts("all tests passed");
}
