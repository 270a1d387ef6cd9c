// The decision, without the agent: plain functions, so that `npm test` runs them in Node.
import type { Action, Alert } from 'brokerwarden:rule/types@0.1.0';
import type { OwnAction } from 'brokerwarden:rule/own-actions@0.1.0';
import type { TopicLag } from 'brokerwarden:rule/snapshot@0.1.0';

export const ALERT = 'ConsumerGroupBehind';
/** The action is asked for when a group was seen behind so many times in a row. */
export const SIGHTINGS = 3;

export interface Config {
  thresholds: Map<string, number>;
  action?: string;
}

/** Reads the `config:` block. Throws one sentence for the person who wrote the YAML, with the key in it. */
export function readConfig(json: string): Config {
  const config: unknown = JSON.parse(json);
  if (!isObject(config)) throw 'config: must be keys with values';
  for (const key of Object.keys(config)) {
    if (key !== 'thresholds' && key !== 'action') {
      throw `config.${key}: unknown field \`${key}\`, expected \`thresholds\` or \`action\``;
    }
  }
  if (config.thresholds === undefined) throw 'config: missing field `thresholds`';
  if (!isObject(config.thresholds)) throw 'config.thresholds: must be groups with their thresholds';
  const thresholds = new Map<string, number>();
  for (const [group, messages] of Object.entries(config.thresholds)) {
    if (typeof messages !== 'number' || !Number.isSafeInteger(messages) || messages < 0) {
      throw `config.thresholds.${group}: must be a whole number of messages, 0 or more`;
    }
    thresholds.set(group, messages);
  }
  if (thresholds.size === 0) throw 'config.thresholds: names no group';
  const action = config.action ?? undefined;
  if (action !== undefined && (typeof action !== 'string' || action === '')) {
    throw 'config.action: must be the name of an action';
  }
  return { thresholds, action };
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

export type Row = Pick<TopicLag, 'group' | 'topic' | 'lag' | 'knownLag'>;

/** What to say of one row, and how many sightings in a row to remember. */
export interface Said {
  sightings: number;
  alert?: Alert;
  action?: Action;
}

/** What became of the action. */
export type Became = Pick<OwnAction, 'state' | 'text'>;

/**
 * Judges one row after `before` sightings. A lag that is not known is neither a sighting nor its end. What became of the action, when it was
 * last asked for, is told from the sighting after that on.
 */
export function judge(row: Row, threshold: number, action: string | undefined, before: number, became?: Became): Said {
  if (row.knownLag <= threshold) return { sightings: row.lag === null ? before : 0 };
  const sightings = before + 1;
  const subject = { tag: 'group' as const, val: row.group };
  const labels = [{ name: 'consumergroup', value: row.group }, { name: 'topic', value: row.topic }];
  const atLeast = row.lag === null ? 'at least ' : '';
  const summary = `${row.group} is ${atLeast}${row.knownLag} messages behind on ${row.topic} (sighting ${sightings})`;
  const annotations = [{ name: 'summary', value: summary }];
  if (became && sightings > SIGHTINGS) {
    annotations.push({ name: 'action', value: became.text ? `${became.state}: ${became.text}` : became.state });
  }
  const alert: Alert = { subject, name: ALERT, labels, annotations, value: row.knownLag };
  if (sightings !== SIGHTINGS || action === undefined) return { sightings, alert };
  const params = [...labels, { name: 'messages', value: String(row.knownLag) }];
  return { sightings, alert, action: { subject, name: action, params, key: stateKey(row) } };
}

/** Under which sightings are remembered; also what makes two requests of an action the same deed. */
export function stateKey(row: Row): string {
  return `${row.group}/${row.topic}`;
}
