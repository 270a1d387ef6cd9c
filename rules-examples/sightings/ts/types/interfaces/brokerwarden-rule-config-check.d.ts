/** @module Interface brokerwarden:rule/config-check@0.1.0 **/
export function check(config: string): void;
