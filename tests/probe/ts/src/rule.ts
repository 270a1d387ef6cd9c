// Asks for something of each interface, and measures what came.
import {
  groups, history, lagTable, owns, partitionLags, query, targets, topicLags, type LagColumns, type LagFilter,
} from 'brokerwarden:rule/snapshot@0.1.0';
import { get, keys, remove, set } from 'brokerwarden:rule/state@0.1.0';
import { rate } from 'brokerwarden:rule/rates@0.1.0';
import { active } from 'brokerwarden:rule/own-alerts@0.1.0';
import { recent } from 'brokerwarden:rule/own-actions@0.1.0';
import { inZone } from 'brokerwarden:rule/time@0.1.0';
import { log } from 'brokerwarden:rule/logging@0.1.0';
import type { Alert, Context, Error as AgentError, Label, Measurement, Outcome } from 'brokerwarden:rule/types@0.1.0';

const ALL: LagFilter = { groups: [], topics: [], offset: 0, limit: 0 };
const ABSENT = -(2 ** 63);

export const configCheck = { check() {} };

export const evaluator = {
  evaluate(ctx: Context): Outcome {
    const measurements: Measurement[] = [];
    const add = (name: string, value: number, labels: Record<string, string> = {}): void => {
      const written = Object.entries(labels).map(([name, value]) => ({ name, value }));
      measurements.push({ subject: { tag: 'agent' }, name, value, labels: written });
    };
    const since = (at: number): number => (ctx.nowMs - at) / 1000;
    add('now', ctx.nowMs, { cluster: ctx.cluster });
    add('interval', ctx.intervalMs);

    const table = orUnavailable(() => lagTable(ALL));
    if (table === undefined) throw { tag: 'unavailable', val: 'no table' };
    const last = table.group.length - 1;
    add('table_rows', table.group.length);
    if (last >= 0) {
      add('table_last', table.partition[last] ?? -1, { group: nameOf(table, table.group), topic: nameOf(table, table.topic) });
    }
    add('table_lag', sum(table.lag, (lag) => (lag === ABSENT ? 0 : lag)));
    add('table_no_lag', count(table.lag, (lag) => lag === ABSENT));
    add('table_committed', Math.max(-1, ...table.committed));
    add('table_status', sum(table.status, (status) => status & 127));
    add('table_at_least', count(table.status, (status) => (status & 128) !== 0));
    add('table_seconds', sum(table.lagSeconds, (seconds) => (Number.isNaN(seconds) ? 0 : seconds)));
    add('table_lost', sum(table.lost, (lost) => lost));

    const topics = topicLags(ALL);
    add('topic_rows', topics.length);
    add('topic_unknown', count(topics, (row) => row.lag === null));
    const parts = partitionLags(ALL);
    add('partition_commit_age', sum(parts, (row) => (row.committedAtMs == null ? 0 : since(row.committedAtMs))));
    add('partition_at_least', count(parts, (row) => row.lagSecondsAtLeast));

    const series = history(ALL, ctx.nowMs - 3600000);
    add('history_points', sum(series, ({ points }) => points.length));
    for (const { group, topic, partition, points } of series) {
      if (topic !== 'payments' || partition !== 0) continue;
      const [oldest, newest] = [points[0], points[points.length - 1]];
      if (oldest === undefined || newest === undefined) continue;
      add('history_span', newest.atMs - oldest.atMs, { group, topic });
      add('history_committed', newest.committed ?? -1);
      add('history_end', newest.logEnd ?? -1);
    }

    add('rate', orUnavailable(() => sum(rate('requests_total', 60000), ({ value }) => value)) ?? -1);
    const heap = orUnavailable(() => query('heap'));
    if (heap === undefined) add('heap', -1);
    else for (const { labels, value } of heap) add('heap', value, named(labels));
    add('query_refused', refused(() => query('{')));

    const alerts = active();
    add('alerts_firing', count(alerts, ({ state }) => state === 'firing'));
    add('alerts_pending', count(alerts, ({ state }) => state === 'pending'));
    for (const { name, labels, activeSinceMs, value } of alerts) {
      add('alert_since', since(activeSinceMs), named(labels));
      add('alert_value', value ?? -1, { name });
    }
    const actions = recent();
    add('actions_waiting', count(actions, ({ state }) => state === 'waiting'));
    add('actions_attempts', sum(actions, ({ attempts }) => attempts));
    for (const { name, key, text, requestedAtMs, endedAtMs } of actions) {
      add('action_took', endedAtMs == null ? -1 : endedAtMs - requestedAtMs, { name, key, text });
    }

    const civil = inZone('Asia/Seoul', ctx.nowMs);
    add('zone_date', civil.year * 10000 + civil.month * 100 + civil.day);
    add('zone_time', civil.hour * 10000 + civil.minute * 100 + civil.second);
    add('zone_weekday', civil.weekday);
    add('zone_offset', civil.utcOffsetSeconds);
    add('zone_refused', refused(() => inZone('Mars/Olympus', ctx.nowMs)));

    for (const { name, state, kind, members, coordinator } of groups([{ tag: 'glob', val: 'o*' }])) {
      add('group_members', members ?? -1, { group: name, state, kind });
      add('group_coordinator', coordinator ?? -1);
    }
    for (const group of ['orders', 'lost']) add('owns', ['owned', 'elsewhere', 'unknown'].indexOf(owns(group)), { group });
    for (const { name: target, up, lastSuccessMs } of targets()) {
      add('target_up', Number(up), { target });
      add('target_age', lastSuccessMs == null ? -1 : since(lastSuccessMs), { target });
    }

    const runs = Number(String.fromCharCode(...(get('runs') ?? []))) + 1;
    set('runs', bytes(String(runs)));
    add('state_runs', runs);
    set('gone', bytes('x'));
    add('state_keys', keys('').length);
    remove('gone');
    add('state_keys_left', keys('r').length);
    log('debug', 'probed');

    const alert: Alert = {
      subject: { tag: 'agent' }, name: 'Probe', labels: [{ name: 'kind', value: 'probe' }], annotations: [], value: runs,
    };
    return { alerts: [alert], actions: [], measurements };
  },
};

/** Of the last row. */
function nameOf(table: LagColumns, column: Uint32Array): string {
  return table.names[column[column.length - 1] ?? 0] ?? '';
}

function sum<T>(list: Iterable<T>, of: (one: T) => number): number {
  let sum = 0;
  for (const one of list) sum += of(one);
  return sum;
}

function count<T>(list: Iterable<T>, is: (one: T) => boolean): number {
  return sum(list, (one) => (is(one) ? 1 : 0));
}

function named(labels: Label[]): Record<string, string> {
  // The metric's own name is no label of a measurement.
  return Object.fromEntries(labels.filter(({ name }) => name !== '__name__').map(({ name, value }) => [name, value]));
}

function bytes(text: string): Uint8Array {
  return Uint8Array.from(text, (letter) => letter.charCodeAt(0));
}

function orUnavailable<T>(question: () => T): T | undefined {
  try {
    return question();
  } catch (error) {
    if (tagOf(error) === 'unavailable') return undefined;
    throw { tag: 'failed', val: String(error) };
  }
}

function refused(question: () => unknown): number {
  try {
    question();
    return 0;
  } catch (error) {
    return Number(tagOf(error) === 'invalid-argument');
  }
}

function tagOf(error: unknown): string {
  return ((error as { payload?: AgentError }).payload ?? (error as AgentError)).tag;
}
