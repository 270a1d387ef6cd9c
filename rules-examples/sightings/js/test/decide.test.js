import assert from 'node:assert/strict';
import test from 'node:test';
import { judge, readConfig } from '../src/decide.js';

const known = (lag) => ({ group: 'orders', topic: 'payments', knownLag: lag, lag });
const unknown = (knownLag) => ({ ...known(knownLag), lag: null });

test('the third sighting in a row asks for the action, once', () => {
  const asked = [0, 1, 2, 3].map((before) => judge(known(101), 100, 'restart', before).action?.key);
  assert.deepEqual(asked, [undefined, undefined, 'orders/payments', undefined]);
});

test('what became of the action is told once it was asked for', () => {
  const failed = { state: 'failed', text: 'HTTP 503' };
  const told = [2, 3].map((before) => judge(known(101), 100, 'restart', before, failed).alert?.annotations[1]?.value);
  assert.deepEqual(told, [undefined, 'failed: HTTP 503']);
});

test('a lag that is not known is neither a sighting nor its end', () => {
  assert.deepEqual(judge(known(100), 100, 'restart', 2), { sightings: 0 });
  assert.deepEqual(judge(unknown(100), 100, 'restart', 2), { sightings: 2 });
});

test('a bad configuration is refused with its key', () => {
  const refused = '{"thresholds":{"orders":-1}}';
  assert.throws(() => readConfig(refused), (error) => error.startsWith('config.thresholds.orders: '));
});
