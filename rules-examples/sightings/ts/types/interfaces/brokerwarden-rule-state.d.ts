/** @module Interface brokerwarden:rule/state@0.1.0 **/
export function get(key: string): Uint8Array | null;
export function set(key: string, value: Uint8Array): void;
export function remove(key: string): void;
export function keys(prefix: string): Array<string>;
export type Error = import('./brokerwarden-rule-types.js').Error;
