// All views by the name that the URL has of them.

import { groups, group } from "./groups.js";
import { topics, topic } from "./topics.js";
import { targets } from "./targets.js";
import { rules, rule } from "./rules.js";
import { alerts, actions } from "./alerts.js";

/**
 * A view: `title`, where it stands in the navigation (`under` another, or for itself), the parameters that make it this one
 * and no other (`identity`), and `build(context, parameters)`, which gives its `title`, `node`, `load(get, parameters)` and
 * `update(data, parameters, byHand)`.
 */
export const views = { groups, group, topics, topic, targets, rules, rule, alerts, actions };
