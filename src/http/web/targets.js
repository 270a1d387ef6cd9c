// What the agent collects from, and why it cannot where it cannot.

import { h, ago, badge, count, duration, foreign, name } from "./dom.js";
import { table } from "./table.js";

export const targets = {
  title: "Targets",
  build() {
    const rows = table({
      caption: "What this agent collects from",
      key: (row) => row.name,
      empty: "Nothing is collected.",
      columns: [
        { id: "name", label: "Target", value: (row) => [row.name, row.kind], cell: (row) => [name(row.name), h("span", { class: "dim small" }, row.kind === "kafka" ? " brokers" : " JMX page")] },
        { id: "up", label: "State", cell: (row) => (row.up ? badge("good", "up") : badge("bad", "down")) },
        { id: "lastSuccessMs", label: "Last collected whole", cell: (row) => ago(row.lastSuccessMs) },
        { id: "durationSeconds", label: "Took", numeric: true, cell: (row) => (row.durationSeconds === null ? h("span", { class: "dim" }, "unknown") : duration(row.durationSeconds)) },
        { id: "samples", label: "Samples", numeric: true, cell: (row) => (row.samples === null ? h("span", { class: "dim" }, "–") : count(row.samples)) },
        { id: "errors", label: "Failures since the start", cell: (row) => (row.errors.length === 0 ? "none" : h("ul", { class: "labels" }, row.errors.map((one) => h("li", {}, foreign(one.reason), " ", count(one.count))))) },
        { id: "error", label: "Last error or remark", cell: (row) => (row.error === null ? h("span", { class: "dim" }, "none") : foreign(row.error, { class: row.up ? "message" : "message bad" })) },
      ],
    });
    return { title: "Targets", node: rows.node, load: (get) => get("targets"), update: (data) => rows.update(data.targets) };
  },
};
