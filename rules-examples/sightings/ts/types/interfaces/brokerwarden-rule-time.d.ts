/** @module Interface brokerwarden:rule/time@0.1.0 **/
/**
 * `zone` is an IANA name, as "Asia/Seoul"; an unknown one is `invalid-argument`. `at-ms` as `context.now-ms`.
 */
export function inZone(zone: string, atMs: number): CivilTime;
export type Error = import('./brokerwarden-rule-types.js').Error;
/**
 * weekday: 1 = Monday … 7 = Sunday
 */
export interface CivilTime {
  year: number,
  month: number,
  day: number,
  weekday: number,
  hour: number,
  minute: number,
  second: number,
  utcOffsetSeconds: number,
}
