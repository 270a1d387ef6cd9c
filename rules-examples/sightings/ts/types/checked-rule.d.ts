// world brokerwarden:rule/checked-rule@0.1.0
export type * as BrokerwardenRuleLogging010 from './interfaces/brokerwarden-rule-logging.js'; // import brokerwarden:rule/logging@0.1.0
export type * as BrokerwardenRuleOwnActions010 from './interfaces/brokerwarden-rule-own-actions.js'; // import brokerwarden:rule/own-actions@0.1.0
export type * as BrokerwardenRuleOwnAlerts010 from './interfaces/brokerwarden-rule-own-alerts.js'; // import brokerwarden:rule/own-alerts@0.1.0
export type * as BrokerwardenRuleRates010 from './interfaces/brokerwarden-rule-rates.js'; // import brokerwarden:rule/rates@0.1.0
export type * as BrokerwardenRuleSnapshot010 from './interfaces/brokerwarden-rule-snapshot.js'; // import brokerwarden:rule/snapshot@0.1.0
export type * as BrokerwardenRuleState010 from './interfaces/brokerwarden-rule-state.js'; // import brokerwarden:rule/state@0.1.0
export type * as BrokerwardenRuleTime010 from './interfaces/brokerwarden-rule-time.js'; // import brokerwarden:rule/time@0.1.0
export type * as BrokerwardenRuleTypes010 from './interfaces/brokerwarden-rule-types.js'; // import brokerwarden:rule/types@0.1.0
export * as configCheck from './interfaces/brokerwarden-rule-config-check.js'; // export brokerwarden:rule/config-check@0.1.0
export * as evaluator from './interfaces/brokerwarden-rule-evaluator.js'; // export brokerwarden:rule/evaluator@0.1.0
