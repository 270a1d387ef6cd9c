// The decision, without the agent: plain C, so that `make test` runs it on any machine.
//
// Nothing is freed: each evaluation runs in a fresh instance, and its memory goes with it.
#ifndef DECIDE_H
#define DECIDE_H
#include <stdbool.h>
#include <stddef.h>

#define ALERT "ConsumerGroupBehind"
// The action is asked for when a group was seen behind so many times in a row.
#define SIGHTINGS 3

struct threshold {
  const char *group;
  long long messages;
};

struct config {
  struct threshold *thresholds;
  size_t count;
  const char *action; // NULL: none
};

// Reads the `config:` block. False: *error is one sentence for the person who wrote the YAML, with the key in it.
bool read_config(const char *json, size_t length, struct config *config, const char **error);

// The threshold of a group; NULL: the group is not looked at.
const struct threshold *threshold_of(const struct config *config, const char *group, size_t length);

struct said {
  long long sightings; // in a row, to be remembered
  const char *summary; // of the alert; NULL: there is none
  bool asks;           // is it time for the action?
  const char *became;  // of the action, to be told with the alert; NULL: nothing
};

// Judges one row after `before` sightings. A lag that is not known is neither a sighting nor its end. What became of the
// action, when it was last asked for (NULL: never), is told from the sighting after that on.
struct said judge(const char *group, const char *topic, bool lag_known, long long known_lag, long long threshold,
                  long long before, const char *became);

// printf to memory of its own.
char *format(const char *template, ...) __attribute__((format(printf, 1, 2)));

#endif
