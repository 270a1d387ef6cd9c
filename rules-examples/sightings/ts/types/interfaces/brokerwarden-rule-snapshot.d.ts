/** @module Interface brokerwarden:rule/snapshot@0.1.0 **/
/**
 * Prometheus instant vector selector
 */
export function query(selector: string): Array<Sample>;
export function topicLags(filter: LagFilter): Array<TopicLag>;
export function partitionLags(filter: LagFilter): Array<PartitionLag>;
export function lagTable(filter: LagFilter): LagColumns;
export function history(filter: LagFilter, sinceMs: number): Array<Series>;
export function groups(names: Array<Pattern>): Array<Group>;
/**
 * does this agent answer for that group, whether or not it exists?
 */
export function owns(group: string): Ownership;
export function targets(): Array<Target>;
export type Sample = import('./brokerwarden-rule-types.js').Sample;
export type Error = import('./brokerwarden-rule-types.js').Error;
export type Pattern = PatternExact | PatternGlob | PatternRegex;
export interface PatternExact {
  tag: 'exact',
  val: string,
}
export interface PatternGlob {
  tag: 'glob',
  val: string,
}
export interface PatternRegex {
  tag: 'regex',
  val: string,
}
/**
 * empty list = all. Rows whose lag is unknown pass `min-lag`. Sorted by group, topic, partition. `limit` 0 = all that one answer may have; fewer
 * rows than a `limit` above 0 = the end.
 */
export interface LagFilter {
  groups: Array<Pattern>,
  topics: Array<Pattern>,
  minLag?: number | null,
  offset: number,
  limit: number,
}
/**
 * # Variants
 * 
 * ## `"behind"`
 * 
 * lag is known
 * ## `"lost"`
 * 
 * known, and part of it is no longer in the log
 * ## `"ahead"`
 * 
 * committed beyond the log's end: truncated or re-created topic
 * ## `"no-commit"`
 * 
 * ## `"unknown"`
 */
export type LagStatus = 'behind' | 'lost' | 'ahead' | 'no-commit' | 'unknown';
/**
 * one row per group and topic: what most rules need
 */
export interface TopicLag {
  group: string,
  topic: string,
  /**
   * over all partitions; absent while one is unknown
   */
  lag?: number | null,
  /**
   * over the partitions that are known
   */
  knownLag: number,
  maxLag: number,
  maxLagSeconds?: number | null,
  lost: number,
  partitions: number,
  unknownPartitions: number,
  uncommittedPartitions: number,
}
export interface PartitionLag {
  group: string,
  topic: string,
  partition: number,
  status: LagStatus,
  committed?: number | null,
  committedAtMs?: number | null,
  logStart?: number | null,
  logEnd?: number | null,
  lastStable?: number | null,
  lag?: number | null,
  lost: number,
  lagSeconds?: number | null,
  lagSecondsAtLeast: boolean,
}
/**
 * The same in bulk, for whole clusters: one list per column, all of one length; `group` and `topic` index `names`; the smallest s64 and NaN
 * stand for absent. 20,000 rows cost 0.3 to 1 ms, as records 2.5. An SDK makes rows of it.
 */
export interface LagColumns {
  names: Array<string>,
  group: Uint32Array,
  topic: Uint32Array,
  partition: Uint32Array,
  /**
   * `lag-status` by its position; 128 is added where lag-seconds is "at least"
   */
  status: Uint8Array,
  committed: Array<number>,
  committedAtMs: Array<number>,
  logStart: Array<number>,
  logEnd: Array<number>,
  lastStable: Array<number>,
  lag: Array<number>,
  lost: Array<number>,
  lagSeconds: Float64Array,
}
/**
 * what was seen, oldest first, at most the host's window
 */
export interface Point {
  atMs: number,
  committed?: number | null,
  logEnd?: number | null,
}
export interface Series {
  group: string,
  topic: string,
  partition: number,
  points: Array<Point>,
}
/**
 * `state` and `kind` in Kafka's own words: Stable, PreparingRebalance, …; classic, consumer, share, streams, simple, unknown
 */
export interface Group {
  name: string,
  state: string,
  kind: string,
  members?: number | null,
  coordinator?: number | null,
}
/**
 * # Variants
 * 
 * ## `"owned"`
 * 
 * ## `"elsewhere"`
 * 
 * ## `"unknown"`
 */
export type Ownership = 'owned' | 'elsewhere' | 'unknown';
export interface Target {
  name: string,
  up: boolean,
  lastSuccessMs?: number | null,
}
