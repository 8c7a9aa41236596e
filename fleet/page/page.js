// The fleet page: one event stream, one card per robot. Data from the network is only ever set as text content.

import { showAttention } from "./attention.js";
import { Robot } from "./robot.js";
import { age, duration, jointName } from "./format.js";

const TIMEOUT_MS = 8000;      // without an event for this long the connection is lost
const REORDER_MS = 3000;      // minimum interval between reorderings; none while a card is hovered or focused
const RECONNECT_MS = 5000;    // after a refused connection
const OPEN_AT_FIRST = 3;      // number of cards with an open motor table

const byId = (id) => document.getElementById(id);
const robots = new Map();
let lastEvent = 0, lastOrder = 0, announced = "", quantities = [];

function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function take(event) {
  const fleet = JSON.parse(event.data);
  lastEvent = performance.now();
  quantities = fleet.quantities ?? quantities;
  removeMissing(fleet.order);
  for (const data of fleet.robots) {
    let robot = robots.get(data.name);
    if (!robot) {
      robot = new Robot(data.name, robots.size < OPEN_AT_FIRST);
      robots.set(data.name, robot);
      byId("robots").append(robot.element);
      lastOrder = 0;
    }
    robot.take(data, fleet);
  }
  const stale = new Set(fleet.stale);
  for (const [name, robot] of robots) robot.show(fleet, stale.has(name), quantities);
  showTop(fleet, stale);
  reorder(fleet.order);
}

// Forgotten robots.
function removeMissing(order) {
  const names = new Set(order);
  for (const [name, robot] of robots) {
    if (!names.has(name)) { robot.element.remove(); robots.delete(name); }
  }
}

function reorder(order) {
  const main = byId("robots");
  const busy = main.contains(document.activeElement) || main.querySelector(".robot:hover");
  if (lastOrder && (busy || performance.now() - lastOrder < REORDER_MS)) return;
  lastOrder = performance.now();
  order.forEach((name, place) => {
    const element = robots.get(name)?.element;
    if (element && main.children[place] !== element) main.insertBefore(element, main.children[place] ?? null);
  });
}

function showTop(fleet, stale) {
  const count = fleet.order.length, live = count - stale.size;
  setText(byId("summary"), count ? `${live} live` + stateCounts(stale) + faultCount(stale) : "");
  byId("empty").hidden = count > 0;
  const error = byId("error");
  error.hidden = fleet.error === null;
  setText(error, fleet.error === null ? "" : `not connected to ROS: ${fleet.error}; restart waldo fleet`);
  setConnection("live", "live");
  showAttention(byId("attention"), robots.values());
  showNext(robots.get(fleet.order[0]), stale);
  announce(stale);
}

function stateCounts(stale) {
  const live = [...robots.values()].filter((robot) => !stale.has(robot.name));
  const count = (state) => live.filter((robot) => robot.condition === state).length;
  const counts = { stopped: count("stopped"), holding: count("holding"), stale: stale.size };
  return Object.entries(counts).map(([word, n]) => n ? `, ${n} ${word}` : "").join("");
}

function faultCount(stale) {
  let count = 0;
  for (const [name, robot] of robots) if (!stale.has(name)) count += robot.faults.length;
  return count ? `, ${count} fault${count === 1 ? "" : "s"}` : "";
}

function showNext(robot, stale) {
  const motor = robot && !stale.has(robot.name) ? robot.first() : null;
  byId("next").hidden = !motor;
  if (!motor) return;
  const left = motor.time_to_limit_seconds;
  const near = typeof left === "number";
  byId("next").dataset.urgency = motor.urgency;
  setText(byId("next-time"), left === 0 ? "At the limit" : near ? duration(left) : left === "inf" ? "None" : "Unknown");
  setText(byId("next-who"), near ? `${robot.name}, ${jointName(motor.joint)}` :
    left === "inf" ? "no motor reaches its limit at the present load" : "no robot reports a time to limit");
  document.title = near ? `${left === 0 ? "At the limit" : duration(left)} · waldo fleet` : "waldo fleet";
}

// Screen readers announce changes of state, not every value.
function announce(stale) {
  const parts = [];
  for (const [name, robot] of robots) {
    const motor = robot.first();
    if (stale.has(name)) { parts.push(`${name} is stale`); continue; }
    for (const fault of robot.faults.filter((one) => one.status === "error")) {
      parts.push(`${name}: ${jointName(fault.component)}: ${withoutFigures(fault.message)}`);
    }
    if (motor && motor.level === "over") parts.push(`${name}: ${jointName(motor.joint)} is at its limit`);
    else if (motor && motor.urgency === "critical") parts.push(`${name}: ${jointName(motor.joint)} is about to reach its limit`);
  }
  const text = parts.join(". ");
  if (text !== announced) { announced = text; setText(byId("announce"), text); }
}

// A changing figure in a message is not a change of state.
function withoutFigures(text) {
  return text.replace(/(?<![A-Za-z_\d.])[-+]?\d+(\.\d+)?/g, "…");
}

function setConnection(state, text) {
  const chip = byId("connection");
  chip.dataset.state = state;
  setText(chip, text);
  document.body.classList.toggle("offline", state === "lost");
}

function watch() {
  const elapsed = performance.now() - lastEvent;
  if (lastEvent && elapsed > TIMEOUT_MS) setConnection("lost", `no connection for ${age(elapsed / 1000)}`);
}

// The browser reconnects after a lost connection, but not after a refusal, whose reason is then shown.
function connect() {
  const stream = new EventSource("events");
  stream.addEventListener("all", take);
  stream.addEventListener("update", take);
  stream.addEventListener("error", () => {
    if (stream.readyState === EventSource.CLOSED) explain().finally(() => setTimeout(connect, RECONNECT_MS));
  });
}

async function explain() {
  const abort = new AbortController();
  const answer = await fetch("events", { signal: abort.signal }).catch(() => null);
  if (answer?.status === 401) location.reload();
  const reason = answer && !answer.ok ? await answer.text() : "";
  abort.abort();
  byId("error").hidden = !reason;
  setText(byId("error"), reason);
}

connect();
setInterval(watch, 1000);
