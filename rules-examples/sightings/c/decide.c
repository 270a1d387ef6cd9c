#include "decide.h"
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Beyond 2^53 not every language can tell numbers in JSON apart.
#define LARGEST ((1LL << 53) - 1)

char *format(const char *template, ...) {
  va_list arguments;
  va_start(arguments, template);
  int length = vsnprintf(NULL, 0, template, arguments);
  va_end(arguments);
  char *text = malloc((size_t)length + 1);
  if (text == NULL) abort();
  va_start(arguments, template);
  vsnprintf(text, (size_t)length + 1, template, arguments);
  va_end(arguments);
  return text;
}

// ---- JSON, as far as this rule needs it; the agent hands over nothing that is not JSON ----

struct reader {
  const char *at, *end;
};

static char next(struct reader *reader) {
  while (reader->at < reader->end && strchr(" \t\r\n", *reader->at)) reader->at++;
  return reader->at < reader->end ? *reader->at : '\0';
}

static bool take(struct reader *reader, char sign) {
  if (next(reader) != sign) return false;
  reader->at++;
  return true;
}

static unsigned hex4(struct reader *reader) {
  unsigned code = 0;
  for (int i = 0; i < 4 && reader->at < reader->end; i++, reader->at++) {
    char c = *reader->at;
    code = code * 16 + (unsigned)(c <= '9' ? c - '0' : (c | 32) - 'a' + 10);
  }
  return code;
}

static char *put_utf8(char *out, unsigned code) {
  if (code < 0x80) {
    *out++ = (char)code;
  } else if (code < 0x800) {
    *out++ = (char)(0xc0 | code >> 6);
    *out++ = (char)(0x80 | (code & 63));
  } else if (code < 0x10000) {
    *out++ = (char)(0xe0 | code >> 12);
    *out++ = (char)(0x80 | (code >> 6 & 63));
    *out++ = (char)(0x80 | (code & 63));
  } else {
    *out++ = (char)(0xf0 | code >> 18);
    *out++ = (char)(0x80 | (code >> 12 & 63));
    *out++ = (char)(0x80 | (code >> 6 & 63));
    *out++ = (char)(0x80 | (code & 63));
  }
  return out;
}

// NULL: no string stands here.
static char *read_string(struct reader *reader) {
  if (!take(reader, '"')) return NULL;
  // No escape is shorter than what it stands for.
  char *text = malloc((size_t)(reader->end - reader->at) + 1), *out = text;
  if (text == NULL) abort();
  while (reader->at < reader->end && *reader->at != '"') {
    char c = *reader->at++;
    if (c != '\\' || reader->at >= reader->end) {
      *out++ = c;
      continue;
    }
    c = *reader->at++;
    const char *found = strchr("nrtbf", c);
    if (c == 'u') {
      unsigned code = hex4(reader);
      if (code >= 0xd800 && code < 0xdc00 && reader->end - reader->at >= 6) {
        reader->at += 2; // the second half of a pair: \uXXXX
        code = 0x10000 + ((code - 0xd800) << 10) + (hex4(reader) - 0xdc00);
      }
      out = put_utf8(out, code);
    } else {
      *out++ = found ? "\n\r\t\b\f"[found - "nrtbf"] : c;
    }
  }
  if (reader->at < reader->end) reader->at++;
  *out = '\0';
  return text;
}

// Passes over any value.
static void skip(struct reader *reader) {
  char first = next(reader);
  if (first == '"') {
    read_string(reader);
    return;
  }
  int depth = 0;
  do {
    char c = next(reader);
    if (c == '\0') return;
    if (c == '"') {
      read_string(reader);
      continue;
    }
    if (depth == 0 && strchr(",}]", c)) return;
    depth += strchr("{[", c) ? 1 : strchr("}]", c) ? -1 : 0;
    reader->at++;
    if (depth == 0 && strchr("}]", c)) return;
  } while (true);
}

// Reads the key of an object's next member; NULL: the object ends.
static char *read_key(struct reader *reader, bool *first) {
  if (!*first && !take(reader, ',')) return NULL;
  *first = false;
  char *key = read_string(reader);
  if (key != NULL) take(reader, ':');
  return key;
}

static bool read_number(struct reader *reader, long long *number) {
  next(reader);
  struct reader begin = *reader;
  skip(reader);
  const char *digit = begin.at;
  for (*number = 0; digit < reader->at && *digit >= '0' && *digit <= '9' && *number <= LARGEST; digit++) {
    *number = *number * 10 + (*digit - '0');
  }
  while (digit < reader->at && strchr(" \t\r\n", *digit)) digit++;
  return digit > begin.at && digit == reader->at && *number <= LARGEST;
}

// ---- the configuration ----

static bool read_thresholds(struct reader *reader, struct config *config, const char **error) {
  if (!take(reader, '{')) return *error = "config.thresholds: must be groups with their thresholds", false;
  bool first = true;
  for (char *group; (group = read_key(reader, &first)) != NULL;) {
    struct threshold threshold = {group, 0};
    if (!read_number(reader, &threshold.messages)) {
      return *error = format("config.thresholds.%s: must be a whole number of messages, 0 or more", group), false;
    }
    config->thresholds = realloc(config->thresholds, (config->count + 1) * sizeof threshold);
    if (config->thresholds == NULL) abort();
    config->thresholds[config->count++] = threshold;
  }
  if (config->count == 0) return *error = "config.thresholds: names no group", false;
  return take(reader, '}');
}

static bool read_action(struct reader *reader, struct config *config, const char **error) {
  if (next(reader) == 'n') return skip(reader), true; // null
  config->action = read_string(reader);
  if (config->action != NULL && *config->action != '\0') return true;
  return *error = "config.action: must be the name of an action", false;
}

bool read_config(const char *json, size_t length, struct config *config, const char **error) {
  struct reader reader = {json, json + length};
  *config = (struct config){0};
  if (!take(&reader, '{')) return *error = "config: must be keys with values", false;
  bool first = true, thresholds = false;
  // Misspelt keys are looked for first, as in the other languages.
  struct reader again = reader;
  for (char *key; (key = read_key(&reader, &first)) != NULL; skip(&reader)) {
    if (strcmp(key, "thresholds") != 0 && strcmp(key, "action") != 0) {
      return *error = format("config.%s: unknown field `%s`, expected `thresholds` or `action`", key, key), false;
    }
    thresholds = thresholds || *key == 't';
  }
  if (!thresholds) return *error = "config: missing field `thresholds`", false;
  first = true;
  for (char *key; (key = read_key(&again, &first)) != NULL;) {
    bool (*read)(struct reader *, struct config *, const char **) = *key == 't' ? read_thresholds : read_action;
    if (!read(&again, config, error)) return false;
  }
  return true;
}

const struct threshold *threshold_of(const struct config *config, const char *group, size_t length) {
  for (size_t i = 0; i < config->count; i++) {
    const struct threshold *threshold = &config->thresholds[i];
    if (strlen(threshold->group) == length && memcmp(threshold->group, group, length) == 0) return threshold;
  }
  return NULL;
}

// ---- the decision ----

struct said judge(const char *group, const char *topic, bool lag_known, long long known_lag, long long threshold,
                  long long before, const char *became) {
  if (known_lag <= threshold) return (struct said){lag_known ? 0 : before, NULL, false, NULL};
  long long sightings = before + 1;
  const char *summary = format("%s is %s%lld messages behind on %s (sighting %lld)", group,
                               lag_known ? "" : "at least ", known_lag, topic, sightings);
  return (struct said){sightings, summary, sightings == SIGHTINGS, sightings > SIGHTINGS ? became : NULL};
}
