/** @module Interface brokerwarden:rule/own-actions@0.1.0 **/
/**
 * Those that wait first, then those that ended; of each the newest first. So the first of a name and key is how it stands. At most 100. Not among
 * them: what was refused (not granted, a bad parameter, too often), what asked for again was nothing new, and what another agent did for the
 * part that it answers for.
 */
export function recent(): Array<OwnAction>;
/**
 * # Variants
 * 
 * ## `"waiting"`
 * 
 * taken; not begun, or under way, or to be tried again
 * ## `"done"`
 * 
 * ## `"failed"`
 * 
 * tried, and not tried again
 * ## `"expired"`
 * 
 * not begun in time
 * ## `"dry-run"`
 * 
 * only written to the log, as its configuration says
 * ## `"silenced"`
 * 
 * not done because the alert that it belongs to is silenced
 * ## `"dropped"`
 * 
 * not done because it is another agent's now, or is configured no more
 */
export type State = 'waiting' | 'done' | 'failed' | 'expired' | 'dry-run' | 'silenced' | 'dropped';
export interface OwnAction {
  /**
   * as asked for
   */
  name: string,
  key: string,
  state: State,
  /**
   * time of the snapshot on which it was asked for
   */
  requestedAtMs: number,
  /**
   * absent while it is `waiting`
   */
  endedAtMs?: number | null,
  /**
   * how often it was tried; 0 while it is `waiting`
   */
  attempts: number,
  /**
   * for people: what was said of it in the end, as an HTTP status or the last line of a program; at most 1024 bytes, empty while it is `waiting`
   */
  text: string,
}
