// Search and filters of a list; what they say stands in the URL.

import { h } from "./dom.js";

/** How long a pause in typing is before it is searched. */
const PAUSE = 250;

/** A search field and choices: [{key, label, options: [[value, text]]}]. */
export function toolbar(context, { search, choices = [] }) {
  let waiting = null;
  const field = h("input", { type: "search", id: "search", placeholder: search, autocomplete: "off", spellcheck: "false", maxlength: "300" });
  const now = () => {
    clearTimeout(waiting);
    context.change({ search: field.value, page: null });
  };
  field.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(now, PAUSE);
  });
  const selects = choices.map(({ key, label, options }) => {
    const select = h("select", { id: `choice-${key}`, onchange: () => context.change({ [key]: select.value, page: null }) },
      options.map(([value, text]) => h("option", { value }, text)));
    return { key, node: h("span", { class: "field" }, h("label", { for: `choice-${key}` }, label), select), select };
  });
  const node = h("form", { class: "toolbar", role: "search", onsubmit: (event) => { event.preventDefault(); now(); } },
    h("span", { class: "field grow" }, h("label", { for: "search" }, "Search"), field), selects.map((one) => one.node));
  /** Takes what the URL says; not where somebody is typing. */
  function arrived(parameters) {
    if (document.activeElement !== field) field.value = parameters.get("search") ?? "";
    for (const { key, select } of selects) select.value = parameters.get(key) ?? "";
  }
  return { node, arrived };
}

/** The order that a header asks for: that of its column, or the other way round when it is sorted by it already. */
export function sorting(context, byText) {
  let present = {};
  return {
    took: (sorted) => { present = sorted; },
    ask: (sort) => {
      const first = byText.includes(sort) ? "asc" : "desc";
      const order = present.sort === sort ? (present.order === "asc" ? "desc" : "asc") : first;
      context.change({ sort, order, page: null });
    },
  };
}
