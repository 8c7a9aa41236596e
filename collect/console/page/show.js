// What the page shows of a state.

import { colorBody, heatRatio } from "./body.js";
import { Curves, History } from "./curves.js";

const STALE_MS = 500; // Age of a camera's image from which it is marked.
const SLOW = 0.9; // Fraction of a stream's nominal rate below which it is marked.

const HISTORY_S = 600; // Time over which temperatures are shown [s].
const byId = (id) => document.getElementById(id);
const canvases = new Map();
let shownNotice = 0;
let started = false; // What happened before the page was opened is not read out.
let speaks = false;
let word = "";
let gates = "";
let announced = "";
let cellTexts = "";
let heatCurves = null;
const temperatures = new History(HISTORY_S);

export function toggleSpeech() {
  speaks = !speaks;
  byId("speech").setAttribute("aria-pressed", String(speaks));
  if (speaks) announce("announcements on");
}

function announce(text) {
  if (!speaks || !window.speechSynthesis) return;
  speechSynthesis.speak(new SpeechSynthesisUtterance(text));
}

export function showLost() {
  document.body.dataset.connection = "lost";
  announce("console disconnected");
}

export function show(state) {
  document.body.dataset.connection = "open";
  document.body.dataset.role = state.role;
  document.title = `${state.condition?.word ?? "…"} · ${state.robot}`;
  showCondition(state.condition);
  showRecorder(state.recorder, state.goal);
  showHeat(state.heat, state.battery_s);
  showBattery(state.battery, state.battery_s);
  showSession(state.session);
  showNotices(state);
  showRole(state);
  for (const [camera, entry] of canvases) {
    const latency = state.latency_s[camera];
    entry.latency = latency === undefined ? "" : ` ${Math.round(latency * 1000)} ms`;
  }
}

function showCondition(condition) {
  const level = String(condition?.level ?? 2);
  if (byId("condition").dataset.level !== level) byId("condition").dataset.level = level;
  const text = condition?.word ?? "WAITING";
  setText("word", text);
  setText("reason", [condition?.reason, condition?.action].filter(Boolean).join(": "));
  if (word && word !== text) announce(text);
  word = text;
}

function showRecorder(recorder, goal) {
  byId("recording").dataset.state = recorder?.state ?? "idle";
  setText("state", recorder?.state ?? "idle");
  setText("elapsed", recorder && recorder.state !== "idle" ? recorder.elapsed : "");
  setText("task", recorder?.task ?? "");
  const { subtask, next_subtask: next } = recorder ?? {};
  setText("subtask", [subtask, next && `next: ${next}`].filter(Boolean).join(", "));
  if (subtask && subtask !== announced) announce(subtask);
  announced = subtask;
  if (!recorder) return;
  const lost = recorder.lost ? `, ${recorder.lost} lost` : "";
  setText("counts", `${recorder.saved}${goal ? ` of ${goal}` : ""} saved${lost}`);
  setText("disk", recorder.disk);
  byId("disk").className = ["", "low", "full"][recorder.disk_level];
  const rows = recorder.streams.map((stream) => {
    const paused = !stream.stopped && stream.rate_hz === 0; // Commands while no operator is engaged.
    const slow = !paused && stream.rate_hz < SLOW * stream.nominal_hz;
    const level = stream.stopped ? 2 : slow || stream.lost ? 1 : 0;
    const rate = stream.stopped ? "no messages" : paused ? "paused" : `${stream.rate_hz.toFixed(0)} Hz`;
    return element("li", `${stream.name} ${rate}${stream.lost ? `, ${stream.lost} lost` : ""}`, { level });
  });
  byId("streams").replaceChildren(...rows);
  const texts = recorder.state === "idle"
    ? recorder.gates.map((gate) => `Not ready: ${gate.name}: ${gate.reason}`)
    : breachTexts(recorder.breaches);
  if (texts.join("|") !== gates) {
    gates = texts.join("|");
    byId("gates").replaceChildren(...texts.map((text) => element("li", text)));
  }
}

function showBattery(charge, left) {
  const empty = left === null ? "" : `, empty in ${duration(left)}`;
  setText("battery", charge === null ? "" : `battery ${Math.round(charge * 100)} %${empty}`);
  byId("battery").className = charge !== null && charge < 0.2 ? "low" : "";
}

function showHeat(motors, batteryLeft) {
  const rows = motors.map((motor) => {
    const { winding_celsius: winding, winding_std_kelvin: std } = motor;
    const row = element("tr", "", { level: motor.level });
    const bar = element("span", "", {}, "bar");
    const fill = document.createElement("i");
    fill.style.width = `${100 * Math.max(0, Math.min(1, heatRatio(motor) ?? 0))}%`;
    bar.append(fill);
    const temperature = element("td", "");
    const text = winding === null ? "unknown" : `${winding.toFixed(0)}${std ? ` ± ${std.toFixed(0)}` : ""} °C`;
    temperature.append(bar, text);
    row.append(element("td", name(motor.joint)), temperature, element("td", limitText(motor)));
    row.title = motor.faults;
    return row;
  });
  byId("heat").replaceChildren(...rows);
  colorBody(motors, motors.map((motor) => `${name(motor.joint)}: ${limitText(motor)}`));
  showHistory(motors);
  const soonest = motors.filter((motor) => motor.time_to_limit_seconds !== null)
    .sort((a, b) => a.time_to_limit_seconds - b.time_to_limit_seconds)[0];
  const episodes = motors.map((motor) => motor.episodes_left).filter((left) => left !== null);
  const rest = Math.max(0, ...motors.map((motor) => motor.cooldown_seconds ?? 0));
  const parts = [];
  if (soonest) parts.push(`${name(soonest.joint)} in ${duration(soonest.time_to_limit_seconds)}`);
  if (episodes.length) parts.push(`about ${Math.floor(Math.min(...episodes))} more episodes${rest ? `, then ${duration(rest)} rest` : ""}`);
  const limit = soonest?.time_to_limit_seconds ?? null;
  if (batteryLeft !== null && limit !== null) parts.push(`${batteryLeft < limit ? "the battery" : "heat"} ends the session first`);
  setText("heat-summary", parts.join("; ") || "no limit ahead");
}

// One line for streams with the same finding, such as those of one late control cycle.
function breachTexts(breaches) {
  const streams = new Map();
  for (const { kind, stream, text, blocks } of breaches) {
    const start = `${blocks ? "Blocks saving" : "Quality"}: ${kind}`;
    const key = JSON.stringify([start, text]);
    streams.set(key, [...(streams.get(key) ?? []), stream]);
  }
  return [...streams].map(([key, names]) => {
    const [start, text] = JSON.parse(key);
    const listed = names.filter(Boolean).join(", ");
    return `${start}${listed && ` ${listed}`}: ${text}`;
  });
}

function showSession(session) {
  byId("session").hidden = !session;
  if (!session) return;
  const { name: title, done, episodes, instruction, scene, operator, reset_s: reset, start, rest, cells } = session;
  setText("session-progress", `${title}: ${done} of ${episodes}`);
  byId("session-bar").value = done / episodes;
  const next = instruction ? `Next: ${[instruction, scene, operator].filter(Boolean).join("; ")}` : "The plan is complete.";
  const wait = reset > 0 ? `. Arrange the scene: ${Math.ceil(reset)} s` : start === "motion" ? ". Move to start" : "";
  setText("scene", [scene, reset > 0 ? `arrange the scene: ${Math.ceil(reset)} s` : ""].filter(Boolean).join(", "));
  setText("session-next", next + (instruction ? wait : ""));
  setText("session-rest", rest ? `Rest ${duration(rest.seconds)} ${rest.after ? `after ${rest.after} episodes` : "now"}`
    + ` for ${name(rest.joint)}: ${rest.reason}` : "");
  const rows = cells.map((cell) => `${cell.done} of ${cell.episodes}: ${cell.name}`);
  if (rows.join() !== cellTexts) {
    cellTexts = rows.join();
    byId("session-cells").replaceChildren(...rows.map((row) => element("li", row)));
  }
}

function showHistory(motors) {
  const added = temperatures.add(motors.map(({ winding_celsius: winding }) => winding));
  if (!added || !byId("heat-history").open) return;
  heatCurves ??= new Curves(byId("heat-curves"), "°C", 180);
  heatCurves.draw(temperatures.times, motors.map(({ joint }) => name(joint)), temperatures.columns());
}

function limitText({ time_to_limit_seconds: left, time_to_limit_p10_seconds: from, time_to_limit_p90_seconds: to }) {
  if (left === null) return "–";
  const range = from === null ? "" : ` (${duration(from)} to ${to === null ? "∞" : duration(to)})`;
  return duration(left) + range;
}

function showNotices({ notices, replies }) {
  const list = byId("notices");
  for (const notice of notices) {
    if (notice.number <= shownNotice) continue;
    if (started && (notice.confirmation || notice.level === 2)) announce(notice.text);
    list.prepend(element("li", notice.text, { level: notice.level }));
  }
  started = true;
  shownNotice = Math.max(shownNotice, ...notices.map((notice) => notice.number), 0);
  for (const text of replies) {
    announce(text);
    list.prepend(element("li", text, { level: 1 }));
  }
  while (list.children.length > 50) list.lastChild.remove();
}

function showRole({ role, operator, asking }) {
  const operates = role === "operator";
  setText("role", operates ? `You operate this robot.${asking ? ` ${asking} asks for control.` : ""}`
    : operator ? `${operator} operates; you watch.${asking ? " Control was asked for." : ""}` : "No page operates.");
  byId("take").hidden = operates;
  byId("give").hidden = !operates;
  for (const button of document.querySelectorAll("#requests button")) button.disabled = !operates;
}

// Draws an image, which is a bitmap or a frame of a video, and closes it.
export function showImage(camera, image, width = image.width, height = image.height) {
  let entry = canvases.get(camera);
  if (!entry) {
    const figure = element("figure", "", {}, "camera");
    const canvas = document.createElement("canvas");
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", `camera ${camera}`);
    const caption = document.createElement("figcaption");
    figure.append(canvas, caption);
    if (!canvases.size) byId("cameras").replaceChildren();
    figure.dataset.camera = camera;
    const next = [...byId("cameras").children].find((other) => other.dataset.camera > camera);
    byId("cameras").insertBefore(figure, next ?? null);
    entry = { figure, canvas, caption, latency: "" };
    canvases.set(camera, entry);
  }
  const { canvas } = entry;
  if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
  canvas.getContext("2d").drawImage(image, 0, 0);
  image.close();
  entry.at = performance.now();
}

setInterval(() => {
  for (const [camera, { figure, caption, latency, at }] of canvases) {
    const age = performance.now() - at;
    const stale = age > STALE_MS;
    figure.dataset.stale = String(stale);
    const text = stale ? `${camera}: no image for ${(age / 1000).toFixed(1)} s` : `${camera}${latency}`;
    if (caption.textContent !== text) caption.textContent = text;
  }
}, 200);

function element(tag, text, data = {}, className = "") {
  const made = document.createElement(tag);
  made.textContent = text;
  if (className) made.className = className;
  for (const [key, value] of Object.entries(data)) made.dataset[key] = value;
  return made;
}

// Only changes are written: a live region reads out what is written.
function setText(id, text) {
  if (byId(id).textContent !== text) byId(id).textContent = text;
}

const name = (joint) => joint.replace(/_joint$/, "").replaceAll("_", " ");

function duration(seconds) {
  if (seconds < 90) return `${Math.round(seconds)} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 90 ? `${minutes} min` : `${(minutes / 60).toFixed(1)} h`;
}
