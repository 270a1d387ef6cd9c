// Rules: what is live, what each costs of what it may, what it said, and why a new version was refused.

import { h, put, ago, badge, bytes, count, duration, foreign, meter, name, plain, plural, rounded } from "./dom.js";
import { table } from "./table.js";
import { stories } from "./alerts.js";

function fares(rule) {
  const words = [];
  if (!rule.live) words.push(badge("bad", "not live"));
  else if (rule.loadError !== null) words.push(badge("warn", "live, new version refused"));
  else words.push(badge("good", "live"));
  if (rule.live && rule.lastError !== null) words.push(badge("bad", "last evaluation failed"));
  if (rule.shadow) words.push(badge("dim", "shadow: told to nobody"));
  return h("span", { class: "reasons" }, words);
}

const errors = (rule) => [["New version refused: ", rule.loadError], ["Last evaluation: ", rule.lastError]].filter(([, text]) => text !== null)
  .map(([before, text]) => h("p", { class: "message bad" }, before, foreign(text)));

const version = (rule) => [foreign(rule.module, { class: "code" }), rule.sha256 === "" ? null : h("span", { class: "dim small code", title: `SHA-256 ${rule.sha256}` }, ` ${rule.sha256.slice(0, 12)}`)];

const cpu = (rule) => meter(rule.use.cpuSeconds, rule.limits.cpuSeconds, `${duration(rule.use.cpuSeconds ?? 0)} of ${duration(rule.limits.cpuSeconds)}`);
const memory = (rule) => meter(rule.use.memoryBytes, rule.limits.memoryBytes, `${bytes(rule.use.memoryBytes ?? 0)} of ${bytes(rule.limits.memoryBytes)}`);
const kept = (rule) => meter(rule.use.stateBytes, rule.limits.stateBytes, `${bytes(rule.use.stateBytes ?? 0)} of ${bytes(rule.limits.stateBytes)}`);

const raised = (rule) => (rule.firing + rule.pending === 0 ? h("span", { class: "dim" }, "none") : h("span", { class: "reasons" },
  rule.firing ? badge(rule.shadow ? "dim" : "bad", `${count(rule.firing)} firing`) : null, rule.pending ? badge("warn", `${count(rule.pending)} pending`) : null));

export const rules = {
  title: "Rules",
  build(context) {
    const rows = table({
      caption: "Rules, those in trouble first",
      key: (row) => row.name,
      empty: "There are no rules.",
      columns: [
        { id: "name", label: "Rule", cell: (row) => h("a", { href: context.link("rule", { name: row.name }) }, name(row.name)) },
        { id: "state", label: "State", value: (row) => [row.live, row.loadError, row.lastError, row.shadow], cell: (row) => [fares(row), errors(row)] },
        { id: "version", label: "Version", value: (row) => [row.module, row.sha256], cell: version },
        { id: "lastEvaluationMs", label: "Evaluated", cell: (row) => ago(row.lastEvaluationMs) },
        { id: "cpu", label: "CPU time, at most", value: (row) => [row.use.cpuSeconds, row.limits.cpuSeconds], cell: cpu },
        { id: "memory", label: "Memory, at most", value: (row) => [row.use.memoryBytes, row.limits.memoryBytes], cell: memory },
        { id: "alerts", label: "Alerts", value: (row) => [row.firing, row.pending, row.shadow], cell: raised },
      ],
    });
    const wrong = h("p", { class: "message bad", hidden: true });
    return {
      title: "Rules",
      node: h("div", {}, wrong, rows.node),
      load: (get) => get("rules/status"),
      update(data) {
        wrong.hidden = data.directoryError === null;
        if (data.directoryError !== null) put(wrong, foreign(data.directoryError));
        rows.update(data.rules);
      },
    };
  },
};

export const rule = {
  title: "Rule",
  under: "rules",
  identity: ["name"],
  build(context, parameters) {
    const of = parameters.get("name") ?? "";
    const facts = h("dl", { class: "facts" });
    const wrong = h("div", {});
    const said = table({
      caption: "Its last evaluations, the newest first",
      key: (row) => `${row.snapshot} ${row.atMs}`,
      empty: "It was not evaluated yet.",
      columns: [
        { id: "snapshot", label: "Snapshot", cell: (row) => count(row.snapshot) },
        { id: "atMs", label: "When", cell: (row) => ago(row.atMs) },
        { id: "outcome", label: "Outcome", cell: (row) => foreign(row.outcome, { class: "message" }) },
        { id: "cpuSeconds", label: "CPU time", numeric: true, cell: (row) => duration(row.cpuSeconds) },
        { id: "wallSeconds", label: "Took", numeric: true, cell: (row) => duration(row.wallSeconds) },
        { id: "memoryBytes", label: "Memory", numeric: true, cell: (row) => bytes(row.memoryBytes) },
      ],
    });
    const told = stories(context);
    const shadow = h("p", { class: "summary", hidden: true }, "A shadow rule: its alerts are here and on /metrics, and are told to nobody.");
    const node = h("div", {}, wrong, facts, h("section", {}, h("h2", {}, "Its alerts"), shadow, told.node), h("section", {}, h("h2", {}, "Evaluations"), said.node));
    return {
      title: [h("span", { class: "dim" }, "Rule "), foreign(of, { class: "name whole", title: plain(of) })],
      node,
      load: (get) => get("rules/status", { name: of }),
      update(data) {
        const row = data.rules[0];
        put(wrong, errors(row));
        const every = row.intervalSeconds === null ? "at each snapshot" : `every ${duration(row.intervalSeconds)}`;
        put(facts, [["State", fares(row)], ["Module", foreign(row.module, { class: "code" })], ["SHA-256", h("span", { class: "code" }, row.sha256 || "none is live")], ["Evaluated", [every, ", last ", ago(row.lastEvaluationMs)]],
          ["Pending for", duration(row.forSeconds)], ["Kept firing for", duration(row.keepFiringForSeconds)], ["CPU time of late, at most", cpu(row)], ["Memory of late, at most", memory(row)],
          ["State that it keeps", [kept(row), row.use.stateKeys === null ? null : h("span", { class: "dim small" }, ` ${plural(row.use.stateKeys, "key")}`)]], ["Alerts in one evaluation", `up to ${count(row.limits.alerts)}`],
          ["Evaluations", row.outcomes.length === 0 ? "none" : row.outcomes.map((one) => `${count(one.count)} ${one.outcome}`).join(", ")],
          ["Measured", row.measurements.length === 0 ? "nothing" : h("ul", { class: "labels" }, row.measurements.map((one) => h("li", {}, foreign(one.name), " ", rounded(one.value))))]]
          .map(([term, text]) => h("div", {}, h("dt", {}, term), h("dd", {}, text))));
        shadow.hidden = !row.shadow;
        told.update(row.alerts);
        said.update([...row.evaluations].reverse());
      },
      missing: () => put(node, h("p", { class: "nothing" }, "There is no such rule now.")),
    };
  },
};
