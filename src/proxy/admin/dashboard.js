// Fills the places of the page again from the snapshots that /events sends. What visitors sent becomes text, never markup.
"use strict";

const $ = (id) => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";
const CLASSES = ["people", "robots", "suspected", "refused"];

const number = (n) => String(n).replace(/\B(?=(\d{3})+$)/g, "\u202f");
const clock = (unix) => new Date(unix * 1000).toISOString().slice(11, 16);
const size = (bytes) => {
  const units = ["B", "kB", "MB", "GB", "TB", "PB"];
  let unit = 0;
  for (; unit < 5 && bytes >= (unit ? 999.5 : 1000); unit += 1) bytes /= 1000;
  return `${bytes.toFixed(unit && bytes < 9.95 ? 1 : 0)}\u00a0${units[unit]}`;
};

// Only what differs is touched: a screen reader, and a selection, stay where they are.
const say = (id, text) => {
  const place = $(id);
  if (place.textContent !== text) place.textContent = text;
};

const element = (name, className, ...inside) => {
  const made = document.createElement(name);
  if (className) made.className = className;
  made.append(...inside);
  return made;
};

const cell = (content, className = "number") => element("td", className, content);

const head = (...inside) => {
  const made = element("th", "", ...inside);
  made.scope = "row";
  return made;
};

const rows = (id, list, cells, empty) => {
  const made = list.map((item) => element("tr", "", ...cells(item)));
  if (!made.length) {
    const none = cell(empty, "quiet");
    none.colSpan = $(id).closest("table").tHead.rows[0].cells.length;
    made.push(element("tr", "", none));
  }
  const held = $(id).children;
  const same = made.length === held.length && made.every((row, at) => row.isEqualNode(held[at]));
  if (!same) $(id).replaceChildren(...made);
};

const counts = (id, list) =>
  rows(id, list.filter((row) => row.count), (row) => [head(row.name), cell(number(row.count))], "Nothing yet");

const total = (step) => CLASSES.reduce((sum, name) => sum + step[name], 0);

const chart = (id, steps, name) => {
  const most = Math.max(...steps.map(total));
  const sum = (of) => number(steps.reduce((all, step) => all + step[of], 0));
  say(`${id}-title`, `${name}: ${sum("people")} of people, ${sum("robots")} of robots, ${sum("suspected")} of suspects, ` +
    `${sum("refused")} refused; ${number(most)} at most in one step.`);
  say(`${id}-start`, clock(steps[0].start));
  say(`${id}-most`, number(most));
  const bars = steps.flatMap((step, at) => {
    let bottom = 100;
    return CLASSES.filter((of) => step[of]).map((of) => {
      const height = (step[of] / most) * 100;
      bottom -= height;
      const bar = document.createElementNS(SVG, "rect");
      for (const [key, value] of Object.entries({ class: of, x: at * 10 + 1, y: bottom.toFixed(2), width: 8, height: height.toFixed(2) })) {
        bar.setAttribute(key, value);
      }
      return bar;
    });
  });
  $(id).querySelector("g").replaceChildren(...bars);
};

const suspect = (one) => {
  const about = [one.visitor, one.category, one.verification === "none" ? "" : one.verification].filter(Boolean).join(" · ");
  const reasons = one.reasons.length ? one.reasons.map((reason) => `${reason.signal} ${reason.points}`) : [one.rule];
  const action = cell(one.action || "none", "");
  if (one.would) action.append(" ", element("span", "quiet", `would ${one.would}`));
  return [
    head(
      element("span", "name", one.agent || one.user_agent || "no user agent"),
      " ",
      element("span", "quiet", about),
      element("span", "reasons", ...reasons.map((reason) => element("span", "", reason))),
    ),
    cell(String(one.score)),
    cell(number(one.requests)),
    cell(number(one.articles)),
    cell(size(one.bytes), "number roomy"),
    cell(clock(one.last), "roomy"),
    action,
  ];
};

const health = ({ log, safety, figures, plans, state_bytes: state }) => {
  const pair = ([name, value]) => [head(name), cell(value)];
  const lines = log && [
    ["written", number(log.written)],
    ["bytes", size(log.bytes)],
    ["queued", number(log.queued)],
    ["left out by sampling", number(log.sampled_out)],
    ...log.dropped.map((row) => [`lost: ${row.name}`, number(row.count)]),
  ];
  rows("log", lines || [], pair, "Off");
  const readers = [
    ["networks in good standing, ten minutes", number(safety.networks)],
    ["of them disturbed", number(safety.disturbed)],
    ["share", `${(safety.share * 100).toFixed(1)}\u00a0%`],
    ["responses cut off", number(figures.incomplete)],
    ["memory of visitors", size(state)],
    ["memory of plans", size(plans.bytes)],
  ];
  rows("safety", readers, pair, "");
};

// It is read aloud: once a minute, and when there is a new suspect.
let told = { at: -Infinity, suspects: -1 };
const tell = (verdict, suspects) => {
  if (suspects <= told.suspects && performance.now() - told.at < 60_000) return;
  told = { at: performance.now(), suspects };
  say("verdict", verdict);
};

const show = (all) => {
  const { figures, log, lookups, plans } = all;
  tell(all.verdict, figures.suspects_known);
  say("since", clock(figures.since));
  $("no-log").hidden = Boolean(log);
  $("degraded").hidden = !(log && log.degraded);
  $("valve").hidden = !all.safety.open;
  $("not-ready").hidden = all.ready;
  for (const id of ["requests", "suspected", "refused", "taken"]) say(id, number(figures[id]));
  say("bytes", size(figures.bytes));
  chart("hour", figures.hour, "Requests by the minute, the last hour");
  chart("day", figures.day, "Requests by ten minutes, the last day");
  say("suspects-known", number(figures.suspects_known));
  rows("suspects", figures.suspects, suspect, "Nobody");
  rows("actions", figures.actions, (row) => [head(row.action), cell(number(row.done)), cell(number(row.would))], "");
  rows("articles", figures.articles, (row) => [head(row.path), cell(number(row.copies)), cell(clock(row.last), "")], "None");
  const seen = figures.categories.filter((row) => row.requests);
  rows("categories", seen, (row) => [head(row.category), cell(number(row.requests)), cell(size(row.bytes))], "Nobody yet");
  for (const id of ["challenges", "clamps", "verifications", "kinds", "statuses", "rewrites", "skips"]) counts(id, figures[id]);
  $("lookups").hidden = !lookups;
  if (lookups) {
    say("lookups-queued", number(lookups.queued));
    say("lookups-dropped", number(lookups.dropped));
  }
  say("plan-hits", number(plans.hits));
  say("packed-answers", number(plans.packed_answers));
  say("plan-misses", number(plans.misses));
  health(all);
};

const state = (text) => say("state", text);
const source = new EventSource("/events");
source.onopen = () => state("New figures come by themselves.");
source.onmessage = (event) => show(JSON.parse(event.data));
// A listener that was turned away is not tried again by the browser.
source.onerror = () => state(source.readyState === EventSource.CLOSED
  ? "No new figures come: reload this page."
  : "The connection is lost; these figures are old.");
