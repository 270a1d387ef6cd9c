// Elements, text and numbers. What comes from outside becomes text nodes and attribute values, never markup.

const SVG = "http://www.w3.org/2000/svg";

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  append(element, children);
  return element;
}

function append(element, children) {
  for (const child of children.flat(Infinity)) {
    if (child === undefined || child === null || child === false) continue;
    element.append(child instanceof Node ? child : String(child));
  }
}

/** An HTML element. Attributes that are undefined, null or false are left out; `on…` are listeners. */
export const h = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);

/** An SVG element. */
export const s = (tag, attributes, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);

/** Puts other children into an element. */
export function put(element, ...children) {
  element.replaceChildren();
  append(element, children);
}

// Control characters, marks that turn the direction of text, what has no width, and line separators.
const UNSEEN = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Co}]/gu;
const spelled = (character) => `\\u{${character.codePointAt(0).toString(16)}}`;

/** Foreign text with what cannot be seen spelled out: for attributes and titles. */
export const plain = (text) => String(text).replace(UNSEEN, spelled);

/** Foreign text: characters that cannot be seen are spelled out, and none changes the direction of what is beside it. */
export function foreign(text, attributes) {
  const node = h("bdi", attributes);
  let from = 0;
  for (const match of String(text).matchAll(UNSEEN)) {
    node.append(text.slice(from, match.index), h("span", { class: "spelled" }, spelled(match[0])));
    from = match.index + match[0].length;
  }
  node.append(String(text).slice(from));
  return node;
}

/** A foreign name: cut by CSS where it is long, whole in its title. */
export const name = (text) => foreign(text, { class: "name", title: plain(text) });

const whole = new Intl.NumberFormat("en");
const short = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
const places = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });

/** A count, in full. */
export const count = (value) => (value === null || value === undefined ? "unknown" : whole.format(value));

/** A number for an axis. */
export const compact = (value) => short.format(value);

/** A number with three places. */
export const rounded = (value) => places.format(value);

/** One thing, or so many. */
export const plural = (number, one, many = `${one}s`) => `${count(number)} ${number === 1 ? one : many}`;

/** Bytes in the largest unit that leaves a number of at least 1. */
export function bytes(value) {
  const units = ["B", "KiB", "MiB", "GiB"];
  let at = 0;
  while (value >= 1024 && at < units.length - 1) [value, at] = [value / 1024, at + 1];
  return `${rounded(value)} ${units[at]}`;
}

const UNITS = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];

/** Seconds as people say them, in two units at most. */
export function duration(seconds) {
  if (seconds > 0 && seconds < 1) return seconds < 0.001 ? `${rounded(seconds * 1e6)} µs` : `${rounded(seconds * 1000)} ms`;
  let left = Math.round(seconds);
  const parts = [];
  for (const [unit, length] of UNITS) {
    const of = Math.floor(left / length);
    left -= of * length;
    if (of > 0 || (parts.length === 0 && unit === "s")) parts.push(`${of} ${unit}`);
    else if (parts.length > 0) break;
    if (parts.length === 2) break;
  }
  return parts.join(" ");
}

// How far the agent's clock is ahead of ours: ages are told by its clock.
let ahead = 0;

/** Takes the agent's time from an answer. */
export const setNow = (milliseconds) => { ahead = milliseconds - Date.now(); };

/** The agent's time, in milliseconds. */
export const now = () => Date.now() + ahead;

const clock = (milliseconds) => {
  const at = new Date(milliseconds);
  const time = at.toLocaleTimeString(undefined, { hourCycle: "h23" });
  return at.toDateString() === new Date().toDateString() ? time : `${at.toLocaleDateString()} ${time}`;
};

/** A time of day, with its date where that is not today. */
export const time = (milliseconds) =>
  h("time", { datetime: new Date(milliseconds).toISOString() }, clock(milliseconds));

/** How long ago something was; kept right by `age`. */
export function ago(milliseconds, before = "") {
  if (milliseconds === null || milliseconds === undefined) return "never";
  const at = new Date(milliseconds);
  const node = h("time", { datetime: at.toISOString(), title: at.toLocaleString(), "data-ago": milliseconds });
  node.dataset.before = before;
  tell(node);
  return node;
}

function tell(node) {
  const seconds = Math.max(0, Math.floor((now() - Number(node.dataset.ago)) / 1000));
  const text = `${node.dataset.before}${duration(seconds)} ago`;
  if (node.textContent !== text) node.textContent = text;
}

/** Brings all ages on the page up to date. */
export const age = () => document.querySelectorAll("time[data-ago]").forEach(tell);

/** A word with a meaning: `bad`, `warn`, `good`, `dim`; never told by its colour alone. */
export const badge = (kind, ...text) => h("span", { class: `badge ${kind}` }, text);

/** How much of a limit is used. */
export function meter(used, limit, text) {
  if (used === null || used === undefined || !limit) return h("span", { class: "dim" }, "–");
  const part = Math.min(1, used / limit);
  const kind = part >= 0.9 ? "bad" : part >= 0.7 ? "warn" : "";
  const bar = s("svg", { class: `meter ${kind}`, viewBox: "0 0 100 6", preserveAspectRatio: "none", "aria-hidden": "true" },
    s("rect", { class: "room", width: 100, height: 6 }), s("rect", { class: "used", width: Math.max(1, part * 100), height: 6 }));
  return h("span", { class: "use" }, text, bar);
}

/** Labels of an alert. */
export const labels = (of, without = []) =>
  h("ul", { class: "labels" }, Object.entries(of).filter(([key]) => !without.includes(key))
    .map(([key, value]) => h("li", {}, foreign(key), "=", foreign(value, { title: plain(value) }))));
