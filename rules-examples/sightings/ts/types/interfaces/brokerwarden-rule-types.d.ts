/** @module Interface brokerwarden:rule/types@0.1.0 **/
export interface Label {
  name: string,
  value: string,
}
export interface Sample {
  labels: Array<Label>,
  value: number,
}
/**
 * What an alert, action or measurement is about. The host speaks for it only where it answers for it (scope), adds the `broker` label to
 * `broker`, and resolves an alert only at a snapshot in which its subject was fully observed.
 */
export type Subject = SubjectGroup | SubjectTopic | SubjectBroker | SubjectAgent;
export interface SubjectGroup {
  tag: 'group',
  val: string,
}
export interface SubjectTopic {
  tag: 'topic',
  val: string,
}
export interface SubjectBroker {
  tag: 'broker',
}
export interface SubjectAgent {
  tag: 'agent',
}
/**
 * rule + `name` + `labels` are its identity. `severity` is a label like any other.
 */
export interface Alert {
  subject: Subject,
  name: string,
  labels: Array<Label>,
  annotations: Array<Label>,
  value?: number | null,
}
/**
 * Something configured under `actions:` that this rule was granted. Same `key` = same deed: done once per key and cool-down, and asked for again
 * before that it is nothing new. What became of it: `own-actions`.
 */
export interface Action {
  subject: Subject,
  name: string,
  params: Array<Label>,
  key: string,
}
/**
 * A gauge, exported for as long as evaluations return it; the host prefixes `rule_` and adds the label `rule`.
 */
export interface Measurement {
  subject: Subject,
  name: string,
  labels: Array<Label>,
  value: number,
}
export interface Outcome {
  alerts: Array<Alert>,
  actions: Array<Action>,
  measurements: Array<Measurement>,
}
export interface Context {
  /**
   * time of the snapshot that every call of this evaluation sees; the only clock a rule needs
   */
  nowMs: number,
  intervalMs: number,
  rule: string,
  cluster: string,
  /**
   * the rule's `config:` block, as JSON
   */
  config: string,
}
export type Failure = FailureUnavailable | FailureFailed;
/**
 * what the rule needs was not observed: its alerts stay as they are, no back-off
 */
export interface FailureUnavailable {
  tag: 'unavailable',
  val: string,
}
/**
 * the rule's own fault: counted, logged, back-off; its alerts stay as they are
 */
export interface FailureFailed {
  tag: 'failed',
  val: string,
}
export type Error = ErrorInvalidArgument | ErrorLimitExceeded | ErrorUnavailable;
export interface ErrorInvalidArgument {
  tag: 'invalid-argument',
  val: string,
}
/**
 * a limit of the host; the answer would have been cut, so there is none
 */
export interface ErrorLimitExceeded {
  tag: 'limit-exceeded',
  val: string,
}
/**
 * not observed lately: neither zero nor "caught up" nor empty
 */
export interface ErrorUnavailable {
  tag: 'unavailable',
  val: string,
}
