/** @module Interface brokerwarden:rule/own-alerts@0.1.0 **/
export function active(): Array<ActiveAlert>;
export type Label = import('./brokerwarden-rule-types.js').Label;
/**
 * # Variants
 * 
 * ## `"pending"`
 * 
 * ## `"firing"`
 */
export type State = 'pending' | 'firing';
/**
 * `labels` are those that are told, without `alertname` and `rule`: what the rule gave, what its settings add, `cluster`, `broker`.
 */
export interface ActiveAlert {
  name: string,
  labels: Array<Label>,
  state: State,
  activeSinceMs: number,
  value?: number | null,
}
