/** @module Interface brokerwarden:rule/rates@0.1.0 **/
/**
 * Increase per second of each series that the selector finds, over the last `window-ms`; a value that falls counts as a restart from zero.
 * Nothing is extrapolated: it is the increase between the oldest and the newest look within the window, over their distance. A series seen only
 * once in the window is left out. `unavailable` while the looks kept span less than half of the window.
 */
export function rate(selector: string, windowMs: number): Array<Sample>;
export type Sample = import('./brokerwarden-rule-types.js').Sample;
export type Error = import('./brokerwarden-rule-types.js').Error;
