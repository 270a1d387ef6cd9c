// Tables whose rows stay where the reader is: a refresh changes cells, and moves neither focus nor selection.

import { h, put, plural, count } from "./dom.js";

/**
 * A table. `columns`: [{id, label, numeric, sort, cell(row), value(row)}]; `sort` names the order that a header asks for,
 * `value` is what a cell is made of, so that it is only made anew when that changed. `key(row)` tells rows apart.
 */
export function table({ caption, columns, key, onsort, empty }) {
  const buttons = new Map();
  const heads = columns.map((column) => {
    const attributes = { scope: "col", role: "columnheader", class: column.numeric ? "number" : undefined };
    if (!column.sort) return h("th", attributes, column.label);
    const button = h("button", { type: "button", class: "sort", onclick: () => onsort(column.sort) }, column.label, h("span", { class: "arrow", "aria-hidden": "true" }));
    const head = h("th", attributes, button);
    buttons.set(column.sort, head);
    return head;
  });
  const body = h("tbody", { role: "rowgroup" });
  const nothing = h("p", { class: "nothing", hidden: true });
  const whole = h("table", { role: "table" }, h("caption", {}, caption), h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, heads)), body);
  const node = h("div", { class: "scroll" }, whole, nothing);
  let shown = new Map();

  function update(rows, sorted) {
    const next = new Map();
    let before = null;
    for (const row of rows) {
      const id = key(row);
      const known = shown.get(id) ?? { node: h("tr", { role: "row" }), cells: [] };
      shown.delete(id);
      next.set(id, known);
      columns.forEach((column, at) => {
        const value = JSON.stringify(column.value ? column.value(row) : row[column.id] ?? null);
        let cell = known.cells[at];
        if (!cell) {
          const first = at === 0;
          cell = { node: h(first ? "th" : "td", { role: first ? "rowheader" : "cell", scope: first ? "row" : undefined, class: column.numeric ? "number" : undefined, "data-label": column.label }) };
          known.cells[at] = cell;
          known.node.append(cell.node);
        }
        if (cell.value !== value) {
          cell.value = value;
          put(cell.node, column.cell ? column.cell(row) : row[column.id]);
        }
      });
      // Moved only where it is not in its place: moving a row takes its focus.
      const place = before ? before.nextSibling : body.firstChild;
      if (place !== known.node) body.insertBefore(known.node, place);
      before = known.node;
    }
    for (const gone of shown.values()) gone.node.remove();
    shown = next;
    nothing.hidden = rows.length > 0;
    whole.hidden = rows.length === 0;
    nothing.textContent = rows.length > 0 ? "" : empty;
    for (const [name, head] of buttons) {
      const is = sorted?.sort === name;
      if (is) head.setAttribute("aria-sort", sorted.order === "asc" ? "ascending" : "descending");
      else head.removeAttribute("aria-sort");
    }
  }
  return { node, update };
}

/** Which rows of how many there are, and the way to others. `turn(page)` is called with a page's number from 0. */
export function pager(size, what, turn) {
  let page = 0;
  const text = h("span", {});
  const back = h("button", { type: "button", onclick: () => turn(page - 1) }, "Previous");
  const on = h("button", { type: "button", onclick: () => turn(page + 1) }, "Next");
  const node = h("nav", { class: "pager", "aria-label": "Pages" }, text, back, on);
  function update({ total, offset }) {
    page = Math.floor(offset / size);
    const last = Math.min(total, offset + size);
    text.textContent = total > size ? `${count(offset + 1)}–${count(last)} of ${plural(total, what)}` : plural(total, what);
    back.hidden = on.hidden = total <= size;
    back.disabled = page === 0;
    on.disabled = last >= total;
  }
  return { node, update };
}
