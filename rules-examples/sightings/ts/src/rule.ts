// What the agent calls, and what is asked of the agent. The decision is in decide.ts.
import { topicLags, type LagFilter, type TopicLag } from 'brokerwarden:rule/snapshot@0.1.0';
import { recent } from 'brokerwarden:rule/own-actions@0.1.0';
import { get, remove, set } from 'brokerwarden:rule/state@0.1.0';
import { log } from 'brokerwarden:rule/logging@0.1.0';
import type { Context, Error as AgentError, Failure, Outcome } from 'brokerwarden:rule/types@0.1.0';
import { judge, readConfig, stateKey } from './decide.js';

const PAGE = 1000;

export const configCheck = {
  check(config: string): void {
    readConfig(config);
  },
};

export const evaluator = {
  evaluate(ctx: Context): Outcome {
    const config = ownFault(() => readConfig(ctx.config));
    const asked = recent();
    const outcome: Outcome = { alerts: [], actions: [], measurements: [] };
    for (const row of rows([...config.thresholds.keys()])) {
      const threshold = config.thresholds.get(row.group);
      if (threshold === undefined) continue; // not asked for
      const key = stateKey(row);
      const before = Number(String.fromCharCode(...(get(key) ?? [])));
      // The first one is the last request of this key.
      const became = asked.find(({ name, key: of }) => name === config.action && of === key);
      const said = judge(row, threshold, config.action, before, became);
      if (said.sightings === 0) remove(key);
      else if (said.sightings !== before) set(key, bytes(String(said.sightings)));
      if (said.alert) outcome.alerts.push(said.alert);
      if (said.action) {
        log('info', `${key}: asks for ${said.action.name}`);
        outcome.actions.push(said.action);
      }
    }
    return outcome;
  },
};

/** The bytes of a text of digits: QuickJS has no TextEncoder. */
function bytes(digits: string): Uint8Array {
  return Uint8Array.from(digits, (digit) => digit.charCodeAt(0));
}

/** One row per group and topic, page by page: a page that is not full is the last one. */
function rows(groups: string[]): TopicLag[] {
  const exact = groups.map((val) => ({ tag: 'exact' as const, val }));
  const filter: LagFilter = { groups: exact, topics: [], offset: 0, limit: PAGE };
  const all: TopicLag[] = [];
  for (;;) {
    const page = asking(() => topicLags(filter));
    all.push(...page);
    if (page.length < PAGE) return all;
    filter.offset += PAGE;
  }
}

/** An error of the agent is thrown on as the failure that it means: what was not observed is nobody's fault. */
function asking<T>(question: () => T): T {
  try {
    return question();
  } catch (error) {
    const { tag, val } = (error as { payload?: AgentError }).payload ?? (error as AgentError);
    const failure: Failure = { tag: tag === 'unavailable' ? 'unavailable' : 'failed', val };
    throw failure;
  }
}

function ownFault<T>(step: () => T): T {
  try {
    return step();
  } catch (error) {
    const failure: Failure = { tag: 'failed', val: String(error) };
    throw failure;
  }
}
