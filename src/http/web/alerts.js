// Alerts with their story, where they are told, and what was done about them.

import { h, put, ago, badge, count, foreign, labels, name, plural, rounded, time } from "./dom.js";
import { pager, table } from "./table.js";
import { toolbar } from "./toolbar.js";

const PAGE = 100;
const KIND = { firing: "bad", pending: "warn", resolved: "dim" };

/** What an alert is about, with the way there. */
function subject(context, { kind, name: of }) {
  if (kind === "group") return h("a", { href: context.link("group", { name: of }) }, "group ", name(of));
  if (kind === "topic") return h("a", { href: context.link("topic", { name: of }) }, "topic ", name(of));
  return `this ${kind}`;
}

/** What one receiver was told of an alert, and took or not. */
const telling = (one) => h("li", {}, foreign(one.notifier), ` was told ${one.state}: `, badge(one.outcome === "sent" ? "good" : "bad", one.outcome === "sent" ? "accepted" : one.outcome), " ", ago(Date.parse(one.at)),
  one.error ? h("p", { class: "message bad" }, foreign(one.error)) : null);

const identity = (row) => JSON.stringify([row.rule, row.labels]);

/** Gives each alert what its receivers were told last: notifications are the newest first. */
function withTold(alerts, notifications) {
  const told = new Map();
  for (const one of notifications) {
    const key = identity(one);
    if (!told.has(key)) told.set(key, new Map());
    const of = told.get(key), receiver = `${one.notifier} ${one.receiver}`;
    if (!of.has(receiver)) of.set(receiver, one);
  }
  return alerts.map((alert) => ({ ...alert, told: [...(told.get(identity(alert))?.values() ?? [])] }));
}

/** Its life so far, one step a line. */
function story(row) {
  const steps = [["Pending since", row.activeAtMs]];
  if (row.firedAtMs !== null) steps.push(["Firing since", row.firedAtMs]);
  if (row.keepFiringSinceMs !== null) steps.push(["Holds no longer, kept firing, since", row.keepFiringSinceMs]);
  if (row.resolvedAtMs !== null) steps.push(["Resolved", row.resolvedAtMs]);
  const told = row.shadow ? "Told to nobody: its rule is a shadow" : row.lastSentMs === null ? (row.state === "pending" ? "Told when it fires" : "Not handed to notifiers yet") : null;
  return h("ol", { class: "story" }, steps.map(([word, at]) => h("li", {}, word, " ", time(at), ", ", ago(at))),
    h("li", { class: told ? "dim" : undefined }, told ?? ["Last handed to notifiers ", time(row.lastSentMs), ", ", ago(row.lastSentMs)]),
    (row.told ?? []).map(telling));
}

/** Labels that stand in a column of their own already. */
const said = (row) => Object.keys(row.labels).filter((key) => key === "alertname" || row.labels[key] === row.subject.name || (key === "rule" && row.labels[key] === row.rule));

/** A table of alerts. */
export function stories(context) {
  return table({
    caption: "Alerts, firing ones first",
    key: identity,
    empty: "No alert.",
    columns: [
      { id: "alert", label: "Alert", value: (row) => [row.name, row.annotations, row.subject], cell: (row) => [name(row.name),
        h("p", { class: "message" }, foreign(row.annotations.summary ?? row.annotations.description ?? "")),
        row.annotations.summary && row.annotations.description ? h("details", {}, h("summary", {}, "Description"), h("p", { class: "message" }, foreign(row.annotations.description))) : null] },
      { id: "state", label: "State", value: (row) => [row.state, row.shadow], cell: (row) => h("span", { class: "reasons" }, badge(row.shadow ? "dim" : KIND[row.state], row.state), row.shadow ? badge("dim", "shadow") : null) },
      { id: "subject", label: "About", value: (row) => [row.subject, row.labels], cell: (row) => [subject(context, row.subject), labels(row.labels, said(row))] },
      { id: "value", label: "Value", numeric: true, cell: (row) => (row.value === null ? h("span", { class: "dim" }, "–") : Number.isInteger(row.value) ? count(row.value) : rounded(row.value)) },
      { id: "story", label: "Story", value: (row) => [row.activeAtMs, row.firedAtMs, row.keepFiringSinceMs, row.resolvedAtMs, row.lastSentMs, row.shadow, row.told], cell: story },
      { id: "rule", label: "Rule", cell: (row) => h("a", { href: context.link("rule", { name: row.rule }) }, name(row.rule)) },
    ],
  });
}

function receivers() {
  return table({
    caption: "Where alerts are told, and what came of it",
    key: (row) => row.name,
    empty: "No notifier is configured: alerts are on this page and on /metrics only.",
    columns: [
      { id: "name", label: "Notifier", value: (row) => [row.name, row.kind], cell: (row) => [name(row.name), h("span", { class: "dim small" }, " ", row.kind)] },
      { id: "outcome", label: "Last outcome", value: (row) => [row.lastSuccessMs, row.lastError, row.works], cell: (row) => (row.works === null ? h("span", { class: "dim" }, "nothing was told yet") : row.works
        ? h("span", { class: "reasons" }, badge("good", "accepted"), " ", ago(row.lastSuccessMs)) : [h("span", { class: "reasons" }, badge("bad", "not accepted"), " ", ago(row.lastError.atMs)), h("p", { class: "message bad" }, foreign(row.lastError.text))]) },
      { id: "lastSuccessMs", label: "Last accepted", cell: (row) => ago(row.lastSuccessMs) },
      { id: "waiting", label: "Waiting", numeric: true, cell: (row) => (row.waiting > 0 ? badge("warn", count(row.waiting)) : "0") },
      { id: "sent", label: "Told", numeric: true, cell: (row) => count(row.sent) },
      { id: "retried", label: "Told again later", numeric: true, cell: (row) => count(row.retried) },
      { id: "failed", label: "Not told", numeric: true, value: (row) => row.failed + row.dropped, cell: (row) => (row.failed + row.dropped > 0 ? badge("bad", count(row.failed + row.dropped)) : "0") },
    ],
  });
}

export const alerts = {
  title: "Alerts",
  build(context) {
    const bar = toolbar(context, {
      search: "Part of a name, label or summary",
      choices: [{ key: "state", label: "State", options: [["", "Any"], ["firing", "Firing"], ["pending", "Pending"], ["resolved", "Resolved"]] }],
    });
    const rows = stories(context);
    const pages = pager(PAGE, "alert", (page) => context.change({ page: page || null }));
    const told = receivers();
    const log = records("What was told, the newest first", "Nothing was told yet.");
    const logged = h("section", { hidden: true }, h("h2", {}, "Notifications"), log.node);
    const summary = h("p", { class: "summary" });
    return {
      title: "Alerts",
      node: h("div", {}, summary, bar.node, rows.node, pages.node, h("section", {}, h("h2", {}, "Notifiers"), told.node), logged),
      arrived: bar.arrived,
      load: (get, parameters) => Promise.all([
        get("alerts/status", { search: parameters.get("search"), state: parameters.get("state"), limit: PAGE, offset: (Number(parameters.get("page")) || 0) * PAGE }),
        get("notifiers"), get.offered("notifications"),
      ]),
      update([data, notifiers, notifications], parameters, byHand) {
        put(summary, `${count(data.firing)} firing, ${count(data.pending)} pending, ${count(data.resolved)} resolved of late; those of shadow rules are among them.`);
        const known = notifications?.notifications ?? [];
        rows.update(withTold(data.alerts, known));
        pages.update(data);
        told.update(notifiers.notifiers);
        logged.hidden = notifications === null;
        log.update(known.slice(0, PAGE));
        if (byHand) context.say(`${plural(data.total, "alert")} found`);
      },
    };
  },
};

/** Objects of any shape as a table: a column for each key. */
function records(caption, empty) {
  const node = h("div", {});
  let shown = null;
  const words = (key) => key.replace(/Ms$/, "").replace(/([a-z])([A-Z])/g, "$1 $2").replaceAll("_", " ").toLowerCase().replace(/^./, (first) => first.toUpperCase());
  function cell(key, value) {
    if (value === null || value === undefined) return h("span", { class: "dim" }, "–");
    if (typeof value === "number" && /Ms$/.test(key)) return ago(value);
    if (typeof value === "number") return Number.isInteger(value) ? count(value) : rounded(value);
    if (typeof value === "string" && /^\d{4}-\d\d-\d\dT[\d:.]+Z$/.test(value)) return ago(Date.parse(value));
    if (typeof value === "object" && !Array.isArray(value)) return labels(value);
    return foreign(Array.isArray(value) ? value.join(", ") : String(value), { class: "message" });
  }
  function update(rows) {
    const keys = [...new Set(rows.flatMap(Object.keys))];
    const shape = JSON.stringify(keys);
    if (shown?.shape !== shape) {
      shown = { shape, table: table({ caption, empty, key: (row) => row.at, columns: keys.map((key) => ({ id: key, label: words(key), numeric: false, value: (row) => row.of[key] ?? null, cell: (row) => cell(key, row.of[key]) })) }) };
      put(node, shown.table.node);
    }
    shown.table.update(rows.map((of, at) => ({ of, at })));
  }
  return { node, update };
}

export const actions = {
  title: "Actions",
  build() {
    const nothing = h("p", { class: "nothing", hidden: true });
    const parts = [
      ["waiting", "Waiting", records("Asked for and not ended yet", "Nothing waits.")],
      ["ended", "Done", records("What was done, the newest first", "Nothing was done yet.")],
      ["refused", "Refused", records("What was asked for and may not be done", "Nothing was refused.")],
    ].map(([key, title, rows]) => ({ key, rows, node: h("section", { hidden: true }, h("h2", {}, title), rows.node) }));
    return {
      title: "Actions",
      node: h("div", {}, nothing, parts.map((part) => part.node)),
      load: (get) => get.offered("actions"),
      update(data) {
        const none = data === null || parts.every(({ key }) => (data[key] ?? []).length === 0);
        nothing.hidden = !none;
        nothing.textContent = data === null ? "No actions are configured: rules can raise alerts, and do nothing in the world."
          : "No action was asked for. Actions are configured in agent.yaml, and rules are granted them there.";
        for (const { key, rows, node } of parts) {
          node.hidden = none;
          if (!none) rows.update((data[key] ?? []).slice(0, PAGE));
        }
      },
    };
  },
};
