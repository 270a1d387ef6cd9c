/** @module Interface brokerwarden:rule/evaluator@0.1.0 **/
export function evaluate(ctx: Context): Outcome;
export type Context = import('./brokerwarden-rule-types.js').Context;
export type Outcome = import('./brokerwarden-rule-types.js').Outcome;
export type Failure = import('./brokerwarden-rule-types.js').Failure;
