// Consumer groups, the most urgent first, and one group with its partitions and its past.

import { h, put, ago, badge, count, duration, foreign, name, plain, plural } from "./dom.js";
import { sparkline, chart } from "./chart.js";
import { pager, table } from "./table.js";
import { sorting, toolbar } from "./toolbar.js";
import { stories } from "./alerts.js";

/** Rows of a list that are asked for at once. */
export const PAGE = 100;

const REASONS = {
  firing: ["bad", "alert firing"],
  pending: ["warn", "alert pending"],
  lost: ["bad", "records lost"],
  stopped: ["warn", "behind, nobody reads"],
  unknown: ["warn", "partly unknown"],
  rebalancing: ["warn", "rebalancing"],
};

export const reasons = (of) => of.length === 0 ? null : h("span", { class: "reasons" }, of.map((word) => {
  const [kind, text] = REASONS[word] ?? ["dim", word];
  return badge(kind, text);
}));

/** A lag; of one that is not known whole, what is known. */
export function lag(row) {
  if (row.lag !== null && row.lag !== undefined) return count(row.lag);
  if (row.uncommittedPartitions === row.partitions) return h("span", { class: "dim" }, "no commit");
  if (row.unknownPartitions + row.uncommittedPartitions >= row.partitions) return h("span", { class: "unknown" }, "unknown");
  return [h("span", {}, "≥ ", count(row.knownLag)), h("span", { class: "unknown" }, ` and ${plural(row.unknownPartitions, "partition")} unknown`)];
}

/** How long ago what is read next was produced. */
export function behind(row) {
  if (row.seconds === null || row.seconds === undefined) return h("span", { class: "dim" }, row.lag === 0 ? "0 s" : "unknown");
  return row.secondsAreMinimum ? h("span", { title: "At least: it is older than what is known of the partition" }, "≥ ", duration(row.seconds)) : duration(row.seconds);
}

export const state = (text) => badge({ Stable: "good", Empty: "dim", Dead: "dim", Unknown: "dim" }[text] ?? "warn", text);

const lagParts = (row) => [row.lag, row.knownLag, row.partitions, row.unknownPartitions, row.uncommittedPartitions];

export const groups = {
  title: "Consumer groups",
  tab: "Groups",
  build(context) {
    const bar = toolbar(context, {
      search: "Part of a group’s name",
      choices: [
        { key: "show", label: "Show", options: [["", "All groups"], ["behind", "Behind"], ["trouble", "In trouble"]] },
        { key: "state", label: "State", options: [["", "Any"], ...["Stable", "Empty", "PreparingRebalance", "CompletingRebalance", "Assigning", "Reconciling", "NotReady", "Dead", "Unknown"].map((word) => [word, word])] },
      ],
    });
    const order = sorting(context, ["name", "state"]);
    const rows = table({
      caption: "Consumer groups that this agent answers for",
      key: (row) => row.name,
      empty: "No group is like that.",
      onsort: order.ask,
      columns: [
        { id: "name", label: "Group", sort: "name", value: (row) => [row.name, row.reasons], cell: (row) => [h("a", { href: context.link("group", { name: row.name }) }, name(row.name)), reasons(row.reasons)] },
        { id: "lag", label: "Lag", numeric: true, sort: "lag", value: lagParts, cell: lag },
        { id: "seconds", label: "Behind by", numeric: true, sort: "seconds", value: (row) => [row.seconds, row.secondsAreMinimum, row.lag], cell: behind },
        { id: "trend", label: "Trend of lag", cell: (row) => sparkline(row.trend, "Lag") },
        { id: "state", label: "State", sort: "state", value: (row) => [row.state, row.kind], cell: (row) => [state(row.state), row.kind === "classic" ? null : h("span", { class: "dim small" }, " ", row.kind)] },
        { id: "members", label: "Members", numeric: true, sort: "members", cell: (row) => count(row.members) },
        { id: "coordinator", label: "Coordinator", numeric: true, cell: (row) => row.coordinator ?? "unknown" },
        { id: "partitions", label: "Partitions", numeric: true, sort: "partitions", cell: (row) => count(row.partitions) },
      ],
    });
    const pages = pager(PAGE, "group", (page) => context.change({ page: page || null }));
    const summary = h("p", { class: "summary" });
    const urgent = h("button", { type: "button", class: "plain", onclick: () => context.change({ sort: null, order: null, page: null }) }, "Sort by urgency");
    return {
      title: "Consumer groups",
      node: h("div", {}, summary, bar.node, rows.node, pages.node),
      arrived: bar.arrived,
      load: (get, parameters) => get("groups", {
        search: parameters.get("search"), show: parameters.get("show"), state: parameters.get("state"), sort: parameters.get("sort"),
        order: parameters.get("order"), limit: PAGE, offset: (Number(parameters.get("page")) || 0) * PAGE,
      }),
      update(data, parameters, byHand) {
        order.took(data);
        rows.update(data.groups, data);
        pages.update(data);
        const byUrgency = data.sort === "urgency";
        put(summary, data.observed ? `${plural(data.all, "group")}, ${count(data.behind)} behind, ${count(data.trouble)} in trouble. ` : "Kafka was not observed lately: no group is known now. ",
          byUrgency ? h("span", { class: "dim" }, "The most urgent first.") : urgent);
        if (byHand) context.say(`${plural(data.total, "group")} found`);
      },
    };
  },
};

const STATUS = { lost: ["bad", "records lost"], ahead: ["warn", "ahead of the log"], "no-commit": ["dim", "no commit"], unknown: ["warn", "unknown"] };

const offset = (value) => (value === null || value === undefined ? h("span", { class: "dim" }, "unknown") : count(value));

export const group = {
  title: "Group",
  under: "groups",
  identity: ["name"],
  build(context, parameters) {
    const of = parameters.get("name") ?? "";
    const facts = h("dl", { class: "facts" });
    const lags = chart("Lag", [{ name: "Lag", kind: "one", at: 1 }], "");
    const rates = chart("Records per second", [{ name: "Produced", kind: "two", at: 2 }, { name: "Committed", kind: "three", at: 3 }], "/s");
    const about = h("p", { class: "summary" });
    const topics = h("div", { class: "chips" });
    const order = sorting(context, ["topic"]);
    const rows = table({
      caption: "Partitions, those that are most behind first",
      key: (row) => `${row.topic}\n${row.partition}`,
      empty: "The group has committed nothing.",
      onsort: order.ask,
      columns: [
        { id: "topic", label: "Topic and partition", sort: "topic", value: (row) => [row.topic, row.partition, row.status], cell: (row) => [
          h("a", { href: context.link("group", { name: of, topic: row.topic, partition: row.partition }), title: "Its past alone" }, name(row.topic), ` ${row.partition}`),
          STATUS[row.status] ? h("span", { class: "reasons" }, badge(...STATUS[row.status])) : null] },
        { id: "lag", label: "Lag", numeric: true, sort: "lag", cell: (row) => (row.lag === null ? h("span", { class: "unknown" }, row.status === "no-commit" ? "no commit" : "unknown") : count(row.lag)) },
        { id: "seconds", label: "Behind by", numeric: true, sort: "seconds", value: (row) => [row.seconds, row.secondsAreMinimum, row.lag], cell: behind },
        { id: "trend", label: "Trend of lag", cell: (row) => sparkline(row.trend, "Lag") },
        { id: "committed", label: "Committed", numeric: true, cell: (row) => offset(row.committed) },
        { id: "logEnd", label: "Log end", numeric: true, value: (row) => [row.logEnd, row.lastStable], cell: (row) => [offset(row.logEnd), row.lastStable === null ? null : h("span", { class: "dim small", title: "Readers of committed records get no further: a transaction is open" }, " stable ", count(row.lastStable))] },
        { id: "lost", label: "Lost", numeric: true, cell: (row) => (row.lost > 0 ? badge("bad", count(row.lost)) : "0") },
        { id: "committedAtMs", label: "Last commit", cell: (row) => (row.committedAtMs === null ? h("span", { class: "dim" }, "unknown") : ago(row.committedAtMs)) },
        { id: "leader", label: "Leader", numeric: true, cell: (row) => row.leader ?? "none" },
      ],
    });
    const pages = pager(PAGE, "partition", (page) => context.change({ page: page || null }));
    const told = stories(context);
    const node = h("div", {}, facts, h("section", { class: "charts" }, about, lags.node, rates.node),
      h("section", {}, h("h2", {}, "Alerts about it"), told.node),
      h("section", {}, h("h2", {}, "Partitions"), topics, rows.node, pages.node));
    return {
      title: [h("span", { class: "dim" }, "Group "), foreign(of, { class: "name whole", title: plain(of) })],
      node,
      load: (get, parameters) => get("group", {
        name: of, topic: parameters.get("topic"), partition: parameters.get("partition"), sort: parameters.get("sort"),
        order: parameters.get("order"), limit: PAGE, offset: (Number(parameters.get("page")) || 0) * PAGE,
      }),
      update(data, parameters) {
        const { group: row } = data;
        const topic = parameters.get("topic"), partition = parameters.get("partition");
        put(facts, [["State", [state(row.state), " ", reasons(row.reasons)]], ["Kind", row.kind], ["Members", count(row.members)], ["Coordinator", row.coordinator === null ? "unknown" : `broker ${row.coordinator}`],
          ["Lag", lag(row)], ["Behind by", behind(row)], ["Records lost", row.lost > 0 ? badge("bad", count(row.lost)) : "0"], ["Partitions", count(row.partitions)]]
          .map(([term, text]) => h("div", {}, h("dt", {}, term), h("dd", {}, text))));
        put(about, topic === null ? "All its partitions together, as far back as this agent remembers." : ["Only ", foreign(topic), partition === null ? ", all partitions. " : ` partition ${partition}. `,
          h("a", { href: context.link("group", { name: of }) }, "Show the whole group")]);
        lags.update(data.history);
        rates.update(data.history);
        order.took(data);
        rows.update(data.partitions, data);
        pages.update(data);
        told.update(data.alerts);
        const chips = JSON.stringify([topic, data.topics]);
        if (topics.dataset.of !== chips) {
          const focused = topics.contains(document.activeElement) ? document.activeElement.dataset.topic : null;
          topics.dataset.of = chips;
          put(topics, data.topics.length > 1 ? data.topics.map((one) => h("a", { class: "chip", "data-topic": one.name, href: context.link("group", { name: of, topic: one.name }), "aria-current": topic === one.name ? "true" : undefined },
            name(one.name), h("span", { class: "dim" }, " ", lag(one)))) : null);
          if (focused !== null) [...topics.querySelectorAll("a")].find((link) => link.dataset.topic === focused)?.focus();
        }
      },
      resized: () => { lags.draw(); rates.draw(); },
      missing: () => put(node, h("p", { class: "nothing" }, "This agent knows no such group: it does not exist any more, or another agent answers for it.")),
    };
  },
};
