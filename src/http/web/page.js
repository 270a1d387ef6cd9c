// The frame: which view the URL asks for, what the agent says, and when to ask again.

import { h, put, age, ago, foreign, setNow, plural, count, badge } from "./dom.js";
import { views } from "./views.js";

const by = (id) => document.getElementById(id);
const main = by("main");

// ---- the agent ----

/** JSON of the API; throws what the agent says is wrong, with its status. */
async function get(path, parameters, signal) {
  const query = new URLSearchParams(Object.entries(parameters ?? {}).filter(([, value]) => value !== undefined && value !== null && value !== "")).toString();
  const response = await fetch(`api/v1/${path}${query ? `?${query}` : ""}`, { signal, cache: "no-store" });
  const answer = await response.json().catch(() => null);
  if (!response.ok || answer === null) {
    const error = new Error(answer?.error ?? `the agent answers ${response.status}`);
    error.status = response.status;
    throw error;
  }
  if (answer.data?.nowMs) setNow(answer.data.nowMs);
  return answer.data;
}

// ---- where we are ----

/** View and parameters of the URL: `#/groups?search=a`. */
function here() {
  const [path, query] = location.hash.replace(/^#\/?/, "").split(/\?(.*)/s);
  return { name: views[path] ? path : "groups", parameters: new URLSearchParams(query ?? "") };
}

/** The URL of a view. */
const link = (view, parameters) => {
  const query = new URLSearchParams(Object.entries(parameters ?? {}).filter(([, value]) => value !== undefined && value !== null && value !== "")).toString();
  return `#/${view}${query ? `?${query}` : ""}`;
};

let shown = null;
let asking = null;
let again = false;

/** Changes parameters of the present view: in the URL, so that it can be sent to somebody. */
function change(parameters) {
  const { name, parameters: present } = here();
  for (const [key, value] of Object.entries(parameters)) {
    if (value === null || value === "" || value === undefined) present.delete(key);
    else present.set(key, value);
  }
  const query = present.toString();
  history.replaceState(null, "", `#/${name}${query ? `?${query}` : ""}`);
  arrive(true);
}

const say = (text) => { by("said").textContent = text; };

/** Shows what the URL asks for; a view that is shown already only hears its parameters. */
function arrive(byHand) {
  const { name, parameters } = here();
  const view = views[name];
  const identity = [name, ...(view.identity ?? []).map((key) => parameters.get(key))].join("\n");
  if (shown?.identity !== identity) {
    const context = { link, change, say };
    const built = view.build(context, parameters);
    const heading = h("h1", { tabindex: "-1" }, built.title);
    put(main, heading, built.node);
    // Not at the first arrival: then the reader begins at the top.
    if (shown) heading.focus();
    window.scrollTo(0, 0);
    shown = { identity, name, built };
    document.title = `${view.title} – brokerwarden`;
    document.querySelectorAll("#views a").forEach((item) => {
      if (item.dataset.view === (view.under ?? name)) item.setAttribute("aria-current", "page");
      else item.removeAttribute("aria-current");
    });
  }
  shown.built.arrived?.(parameters);
  refresh(byHand);
}

/** Asks for what is shown. While an answer is under way, once more after it. */
async function refresh(byHand) {
  if (asking && !byHand) {
    again = true;
    return;
  }
  asking?.abort();
  const mine = new AbortController();
  asking = mine;
  again = false;
  const { built } = shown;
  try {
    const overview = await get("overview", {}, mine.signal);
    if (asking !== mine) return;
    tellOverview(overview);
    const ask = (path, parameters) => get(path, parameters, mine.signal);
    // What an agent may lack is not asked for in vain: null instead.
    ask.offered = async (path) => {
      if (!overview.paths.includes(`/api/v1/${path}`)) return null;
      return ask(path).catch((error) => { if (error.status === 404) return null; throw error; });
    };
    const data = await built.load(ask, here().parameters);
    if (asking !== mine) return;
    built.update(data, here().parameters, byHand);
    complain(null);
  } catch (error) {
    if (error.name === "AbortError" || asking !== mine) return;
    if (error.status === 404 && built.missing) built.missing(error);
    else complain(error.status ? `The agent says: ${error.message}` : "The agent does not answer. What is shown is what it said last.");
  } finally {
    if (asking === mine) {
      asking = null;
      if (again) refresh(false);
    }
  }
}

function complain(text) {
  const notice = by("notice");
  if (text === null) {
    if (notice.dataset.of === "answer") notice.hidden = true;
    return;
  }
  notice.dataset.of = "answer";
  put(notice, h("p", {}, foreign(text)));
  notice.hidden = false;
}

// ---- the frame ----

const tabs = {};
for (const [name, view] of Object.entries(views)) {
  if (view.under) continue;
  const number = h("span", { class: "tab-note" });
  tabs[name] = number;
  by("views").append(h("li", {}, h("a", { href: link(name), "data-view": name }, view.tab ?? view.title, " ", number)));
}

function note(name, kind, text) {
  const node = tabs[name];
  if (node.dataset.text === text) return;
  node.dataset.text = text;
  put(node, text ? badge(kind, text) : null);
}

let ready = true;

function tellOverview(overview) {
  put(by("cluster"), overview.cluster ? [foreign(overview.cluster), overview.wholeCluster ? " · whole cluster" : overview.broker === null ? "" : ` · broker ${overview.broker}`] : "");
  by("version").textContent = `brokerwarden ${overview.version}`;
  const { snapshot, kafka, targets, rules, alerts } = overview;
  put(by("moment"), snapshot.number ? ["Snapshot ", count(snapshot.number), ", ", ago(snapshot.atMs)] : "Nothing was seen yet");
  note("groups", "dim", kafka ? count(kafka.groups) : "");
  note("topics", "dim", kafka ? count(kafka.topics) : "");
  note("targets", targets.up < targets.total ? "bad" : "dim", targets.up < targets.total ? `${targets.total - targets.up} down` : count(targets.total));
  note("rules", rules.failing ? "bad" : "dim", rules.failing ? `${rules.failing} failing` : count(rules.total));
  note("alerts", alerts.firing ? "bad" : alerts.pending ? "warn" : "dim", alerts.firing ? `${alerts.firing} firing` : alerts.pending ? `${alerts.pending} pending` : "0");
  const notice = by("notice");
  if (!overview.ready) {
    notice.dataset.of = "ready";
    const text = JSON.stringify(overview.reasons);
    if (notice.dataset.text !== text) {
      notice.dataset.text = text;
      put(notice, h("p", {}, h("strong", {}, "Not ready. "), "What is missing below may exist all the same."), h("ul", {}, overview.reasons.map((reason) => h("li", {}, foreign(reason)))));
    }
    notice.hidden = false;
    if (ready) say("The agent is not ready");
  } else if (notice.dataset.of === "ready") {
    notice.hidden = true;
    notice.dataset.text = "";
    say("The agent is ready");
  }
  ready = overview.ready;
}

// ---- live ----

let paused = false, source = null, retry = null;

function connection(kind, text) {
  const pill = by("connection");
  if (pill.dataset.kind === kind) return;
  pill.dataset.kind = kind;
  by("connection-text").textContent = text;
  if (kind === "lost") say("The connection to the agent is lost");
}

/** Without events, as when too many listen already, the page asks by itself. */
const POLL = 10000;

function listen() {
  clearTimeout(retry);
  source?.close();
  source = null;
  if (paused || document.hidden) return;
  const mine = new EventSource("api/v1/events");
  source = mine;
  mine.addEventListener("open", () => connection("live", "Live"));
  mine.addEventListener("snapshot", () => {
    connection("live", "Live");
    refresh(false);
  });
  mine.addEventListener("error", () => {
    if (source !== mine) return;
    connection("lost", "Reconnecting");
    if (mine.readyState === EventSource.CLOSED) {
      refresh(false);
      retry = setTimeout(listen, POLL);
    }
  });
}

by("pause").addEventListener("click", () => {
  paused = !paused;
  by("pause").setAttribute("aria-pressed", String(paused));
  by("pause").textContent = paused ? "Resume" : "Pause";
  if (paused) connection("paused", "Paused");
  else refresh(false);
  listen();
});

by("skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});

document.addEventListener("visibilitychange", () => {
  listen();
  if (!document.hidden && !paused) refresh(false);
});
// A page that is put aside by the browser must not keep a connection, of which it has few for one host.
window.addEventListener("pagehide", () => source?.close());
window.addEventListener("pageshow", (event) => { if (event.persisted) listen(); });
window.addEventListener("hashchange", () => arrive(true));
window.addEventListener("resize", () => shown?.built.resized?.());
document.addEventListener("keydown", (event) => {
  const typing = event.target.closest?.("input, select, textarea");
  const search = main.querySelector("input[type=search]");
  if (event.key === "/" && !typing && search && !event.ctrlKey && !event.metaKey && !event.altKey) {
    event.preventDefault();
    search.focus();
    search.select();
  }
});
setInterval(age, 1000);
connection("lost", "Connecting");
arrive(false);
listen();
