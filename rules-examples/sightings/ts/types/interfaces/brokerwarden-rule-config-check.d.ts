/** @module Interface brokerwarden:rule/config-check@0.1.0-rc.2 **/
export function check(config: string): void;
