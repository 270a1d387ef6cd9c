// Topics, and one topic with its partitions and the groups that read it.

import { h, put, badge, count, foreign, name, plain, plural } from "./dom.js";
import { PAGE, behind, lag, reasons, state } from "./groups.js";
import { pager, table } from "./table.js";
import { sorting, toolbar } from "./toolbar.js";

const health = (row) => h("span", { class: "reasons" },
  row.leaderless > 0 ? badge("bad", `${plural(row.leaderless, "partition")} without a leader`) : null,
  row.underReplicated > 0 ? badge("bad", `${count(row.underReplicated)} under-replicated`) : null,
  row.failed ? badge("warn", "not observed") : null,
  row.leaderless + row.underReplicated === 0 && !row.failed ? badge("good", "in sync") : null);

export const topics = {
  title: "Topics",
  build(context) {
    const bar = toolbar(context, {
      search: "Part of a topic’s name",
      choices: [{ key: "show", label: "Show", options: [["", "All topics"], ["trouble", "In trouble"], ["read", "Read by a group"]] }],
    });
    const order = sorting(context, ["name"]);
    const rows = table({
      caption: "Topics of the cluster",
      key: (row) => row.name,
      empty: "No topic is like that.",
      onsort: order.ask,
      columns: [
        { id: "name", label: "Topic", sort: "name", cell: (row) => h("a", { href: context.link("topic", { name: row.name }) }, name(row.name)) },
        { id: "health", label: "Replicas", value: (row) => [row.leaderless, row.underReplicated, row.failed], cell: health },
        { id: "partitions", label: "Partitions", numeric: true, sort: "partitions", value: (row) => [row.partitions, row.led], cell: (row) => [count(row.partitions), row.led === row.partitions ? null : h("span", { class: "dim small" }, ` ${count(row.led)} led here`)] },
        { id: "replication", label: "Replication", numeric: true, cell: (row) => `× ${row.replication}` },
        { id: "records", label: "Records", numeric: true, sort: "records", cell: (row) => (row.records === null ? h("span", { class: "dim" }, "unknown") : count(row.records)) },
        { id: "groups", label: "Groups here", numeric: true, sort: "groups", cell: (row) => count(row.groups) },
        { id: "knownLag", label: "Their lag", numeric: true, sort: "lag", value: (row) => [row.groups, row.knownLag, row.lagIsWhole], cell: (row) => (row.groups === 0 ? h("span", { class: "dim" }, "–") : `${row.lagIsWhole ? "" : "≥ "}${count(row.knownLag)}`) },
      ],
    });
    const pages = pager(PAGE, "topic", (page) => context.change({ page: page || null }));
    return {
      title: "Topics",
      node: h("div", {}, bar.node, rows.node, pages.node),
      arrived: bar.arrived,
      load: (get, parameters) => get("topics", {
        search: parameters.get("search"), show: parameters.get("show"), sort: parameters.get("sort"), order: parameters.get("order"),
        limit: PAGE, offset: (Number(parameters.get("page")) || 0) * PAGE,
      }),
      update(data, parameters, byHand) {
        order.took(data);
        rows.update(data.topics, data);
        pages.update(data);
        if (byHand) context.say(`${plural(data.total, "topic")} found`);
      },
    };
  },
};

export const topic = {
  title: "Topic",
  under: "topics",
  identity: ["name"],
  build(context, parameters) {
    const of = parameters.get("name") ?? "";
    const facts = h("dl", { class: "facts" });
    const readers = table({
      caption: "Groups that read it, the most lag first; only those that this agent answers for",
      key: (row) => row.name,
      empty: "No group that this agent answers for has committed on it.",
      columns: [
        { id: "name", label: "Group", cell: (row) => [h("a", { href: context.link("group", { name: row.name, topic: of }) }, name(row.name)), reasons(row.reasons)], value: (row) => [row.name, row.reasons] },
        { id: "lag", label: "Lag", numeric: true, value: (row) => [row.lag, row.knownLag, row.unknownPartitions, row.uncommittedPartitions], cell: lag },
        { id: "seconds", label: "Behind by", numeric: true, value: (row) => [row.seconds, row.secondsAreMinimum, row.lag], cell: behind },
        { id: "state", label: "State", cell: (row) => state(row.state) },
        { id: "members", label: "Members", numeric: true, cell: (row) => count(row.members) },
      ],
    });
    const unknown = (value) => (value === null ? h("span", { class: "dim" }, "unknown") : count(value));
    const partitions = table({
      caption: "Partitions",
      key: (row) => String(row.partition),
      empty: "No partition is known.",
      columns: [
        { id: "partition", label: "Partition", cell: (row) => String(row.partition) },
        { id: "leader", label: "Leader", value: (row) => [row.leader, row.ours, row.preferred], cell: (row) => (row.leader === null ? badge("bad", "none") : [`broker ${row.leader}`, row.preferred ? null : h("span", { class: "dim small" }, " not the preferred one")]) },
        { id: "inSync", label: "In sync", value: (row) => [row.replicas, row.inSync], cell: (row) => [`${row.inSync.length} of ${row.replicas.length}`, row.inSync.length < row.replicas.length ? [" ", badge("bad", `without ${row.replicas.filter((id) => !row.inSync.includes(id)).join(", ")}`)] : null] },
        { id: "logStart", label: "Log start", numeric: true, cell: (row) => unknown(row.logStart) },
        { id: "logEnd", label: "Log end", numeric: true, value: (row) => [row.logEnd, row.lastStable], cell: (row) => [unknown(row.logEnd), row.lastStable === null ? null : h("span", { class: "dim small" }, " stable ", count(row.lastStable))] },
        { id: "records", label: "Records", numeric: true, cell: (row) => unknown(row.records) },
      ],
    });
    const pages = pager(PAGE, "partition", (page) => context.change({ page: page || null }));
    const node = h("div", {}, facts, h("section", {}, h("h2", {}, "Groups"), readers.node), h("section", {}, h("h2", {}, "Partitions"), partitions.node, pages.node));
    return {
      title: [h("span", { class: "dim" }, "Topic "), foreign(of, { class: "name whole", title: plain(of) })],
      node,
      load: (get, parameters) => get("topic", { name: of, limit: PAGE, offset: (Number(parameters.get("page")) || 0) * PAGE }),
      update(data) {
        const { topic: row } = data;
        put(facts, [["Replicas", health(row)], ["Partitions", count(row.partitions)], ["Led here", count(row.led)], ["Replication", `× ${row.replication}`], ["Records in the log", unknown(row.records)], ["Groups here", count(row.groups)]]
          .map(([term, text]) => h("div", {}, h("dt", {}, term), h("dd", {}, text))));
        readers.update(data.groups);
        partitions.update(data.partitions);
        pages.update(data);
      },
      missing: () => put(node, h("p", { class: "nothing" }, "The brokers list no such topic now.")),
    };
  },
};
