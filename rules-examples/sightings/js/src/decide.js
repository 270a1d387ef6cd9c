// The decision, without the agent: plain functions, so that `npm test` runs them in Node.

export const ALERT = 'ConsumerGroupBehind';
/** The action is asked for when a group was seen behind so many times in a row. */
export const SIGHTINGS = 3;

/**
 * Reads the `config:` block.
 * @param {string} json
 * @returns {{thresholds: Map<string, number>, action?: string}}
 * @throws {string} one sentence for the person who wrote the YAML, with the key in it
 */
export function readConfig(json) {
  const config = JSON.parse(json);
  if (!isObject(config)) throw 'config: must be keys with values';
  for (const key of Object.keys(config)) {
    if (key !== 'thresholds' && key !== 'action') {
      throw `config.${key}: unknown field \`${key}\`, expected \`thresholds\` or \`action\``;
    }
  }
  if (config.thresholds === undefined) throw 'config: missing field `thresholds`';
  if (!isObject(config.thresholds)) throw 'config.thresholds: must be groups with their thresholds';
  const thresholds = new Map();
  for (const [group, messages] of Object.entries(config.thresholds)) {
    if (!Number.isSafeInteger(messages) || messages < 0) {
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

function isObject(value) {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/**
 * What to say of one row, and how many sightings to remember. A lag that is not known is neither a sighting nor its end.
 * @param {{group: string, topic: string, lag: number | null, knownLag: number}} row
 * @param {number} threshold
 * @param {string | undefined} action
 * @param {number} before sightings in a row so far
 * @param {{state: string, text: string} | undefined} became of the action, when it was last asked for; told from the sighting after that on
 */
export function judge(row, threshold, action, before, became) {
  if (row.knownLag <= threshold) return { sightings: row.lag === null ? before : 0 };
  const sightings = before + 1;
  const subject = { tag: 'group', val: row.group };
  const labels = [{ name: 'consumergroup', value: row.group }, { name: 'topic', value: row.topic }];
  const atLeast = row.lag === null ? 'at least ' : '';
  const summary = `${row.group} is ${atLeast}${row.knownLag} messages behind on ${row.topic} (sighting ${sightings})`;
  const annotations = [{ name: 'summary', value: summary }];
  if (became && sightings > SIGHTINGS) {
    annotations.push({ name: 'action', value: became.text ? `${became.state}: ${became.text}` : became.state });
  }
  const alert = { subject, name: ALERT, labels, annotations, value: row.knownLag };
  if (sightings !== SIGHTINGS || action === undefined) return { sightings, alert };
  const params = [...labels, { name: 'messages', value: String(row.knownLag) }];
  return { sightings, alert, action: { subject, name: action, params, key: stateKey(row) } };
}

/** Under which sightings are remembered; also what makes two requests of an action the same deed. */
export function stateKey(row) {
  return `${row.group}/${row.topic}`;
}
