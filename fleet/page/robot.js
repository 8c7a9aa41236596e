// One robot's card: its control mode and faults, the motor closest to its limit, a strip of all motors, and tables.

import { Chart } from "./chart.js";
import { age, duration, durationWords, fixed, jointName, percent } from "./format.js";
import { Readings } from "./readings.js";

const COLUMNS = [
  ["Motor", "joint"], ["Winding", "winding"], ["Housing", "housing"], ["Limit", "limit"], ["To limit", "left"],
  ["Duty", "duty"], ["Utilization", "use"], ["Current", "current"], ["Status", "status"], ["History", "history"],
];
const LEVEL_WORDS = { cool: "cool", warm: "warm", hot: "hot", over: "at the limit", unknown: "temperature unknown" };
let made = 0;

function make(name, className, parent, text) {
  const element = document.createElement(name);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  parent?.append(element);
  return element;
}

function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

class Motor {
  constructor(table, strip) {
    this.cell = make("li", "", strip);
    this.row = make("tr", "", table);
    this.cells = {};
    for (const [title, name] of COLUMNS) {
      const cell = make(name === "joint" ? "th" : "td", name, this.row);
      cell.dataset.title = title;
      this.cells[name] = cell;
    }
    this.cells.joint.scope = "row";
    this.bar = make("meter-bar", "", this.cells.winding);
    this.barFill = make("i", "", this.bar);
    this.winding = make("span", "", this.cells.winding);
    this.chart = new Chart(this.cells.history, { width: 120, height: 26 });
    this.history = [];
  }

  take(data, fleet) {
    this.history = data.history ?? this.history;
    this.data = { bands_celsius: this.data?.bands_celsius, ...data };
    const last = this.history.at(-1);
    if (!data.history && (!last || fleet.now_s - last[0] >= fleet.history_period_s)) {
      this.history.push([fleet.now_s, data.winding_celsius, data.housing_celsius]);
      if (this.history.length > fleet.history_length) this.history.shift();
    }
  }

  show(first) {
    const { data, cells } = this;
    this.row.dataset.level = this.cell.dataset.level = data.level;
    this.row.dataset.urgency = data.urgency;
    this.row.classList.toggle("first", first);
    setText(cells.joint, jointName(data.joint));
    setText(this.winding, fixed(data.winding_celsius, 1, " °C"));
    const used = typeof data.headroom_ratio === "number" ? Math.min(1, Math.max(0, 1 - data.headroom_ratio)) : 0;
    this.barFill.style.width = (used * 100).toFixed(1) + "%";
    setText(cells.housing, fixed(data.housing_celsius, 1, " °C"));
    setText(cells.limit, fixed(data.limit_celsius, 0, " °C"));
    setText(cells.left, duration(data.time_to_limit_seconds));
    cells.left.classList.toggle("far", typeof data.time_to_limit_seconds !== "number");
    cells.left.setAttribute("aria-label", durationWords(data.time_to_limit_seconds));
    setText(cells.duty, percent(data.duty_ratio));
    setText(cells.use, percent(data.utilization_ratio));
    cells.use.classList.toggle("high", data.utilization_ratio > 1);
    setText(cells.current, fixed(data.current_amperes, 2, " A"));
    setText(cells.status, data.status);
    cells.status.dataset.status = data.status;
    cells.status.title = data.message;
    const text = `${jointName(data.joint)}: ${fixed(data.winding_celsius, 1, " °C")}, ${LEVEL_WORDS[data.level]}`;
    if (this.cell.title !== text) { this.cell.title = text; this.cell.setAttribute("aria-label", text); }
  }
}

export class Robot {
  constructor(name, open) {
    this.name = name;
    this.motors = new Map();
    this.drawn = -Infinity;
    this.faults = [];
    const id = "robot-" + made++;
    this.element = make("article", "robot");
    this.element.id = id + "-card";
    this.element.setAttribute("aria-labelledby", id);
    const head = make("div", "head", this.element);
    const title = make("div", "title", head);
    make("h2", "", title, name).id = id;
    this.state = make("span", "chip", title);
    this.control = make("span", "chip control", title);
    this.battery = make("span", "battery", title);
    this.forget = make("button", "forget", title, "Forget");
    this.forget.type = "button";
    this.forget.title = "Remove this robot; it returns with its next message";
    this.forget.addEventListener("click", () => this.sendForget());
    const left = make("div", "forecast", head);
    this.left = make("p", "left-time", left);
    this.who = make("p", "left-who", left);
    this.big = new Chart(make("div", "big", head), { width: 320, height: 84, labels: true });
    this.strip = make("ul", "strip", head);
    this.strip.setAttribute("aria-label", "Heat of every motor");
    this.faultList = make("ul", "faults", this.element);
    this.faultList.setAttribute("aria-label", "Faults");
    const details = make("details", "", this.element);
    details.open = open;
    details.addEventListener("toggle", () => { this.drawn = -Infinity; });
    this.details = details;
    this.count = make("summary", "", details);
    this.body = this.makeTable(make("div", "scroll", details));
    this.readings = new Readings(this.element, name);
  }

  async sendForget() {
    this.forget.disabled = true;
    const answer = await fetch("api/robots/" + encodeURIComponent(this.name), { method: "DELETE" }).catch(() => null);
    this.forget.disabled = false;
    if (!answer?.ok) this.forget.textContent = answer ? `Not forgotten: ${await answer.text()}` : "Not forgotten: no connection";
  }

  makeTable(parent) {
    const table = make("table", "motors", parent);
    make("caption", "hidden", table, `Motors of ${this.name}`);
    const row = make("tr", "", make("thead", "", table));
    for (const [title, name] of COLUMNS) make("th", name, row, title).scope = "col";
    return make("tbody", "", table);
  }

  first() {
    return this.motors.get(this.firstJoint)?.data ?? null;
  }

  take(data, fleet) {
    this.received = fleet.now_s - data.age_s;
    this.charge = data.battery_ratio;
    this.firstJoint = data.first_joint;
    this.mode = data.control;
    this.condition = data.state;
    this.faults = data.faults;
    for (const motor of data.motors) {
      if (!this.motors.has(motor.joint)) this.motors.set(motor.joint, new Motor(this.body, this.strip));
      this.motors.get(motor.joint).take(motor, fleet);
    }
  }

  show(fleet, stale, quantities) {
    const first = this.first();
    const past = Math.max(0, fleet.now_s - this.received);
    const level = first ? this.worst() : "unknown";
    this.element.classList.toggle("stale", stale);
    this.element.dataset.level = level;
    this.element.dataset.urgency = first && !stale ? first.urgency : "none";
    this.forget.hidden = !stale;
    if (!stale) setText(this.forget, "Forget");
    this.silence = stale ? `stale, last message ${age(past)} ago` : "";
    setText(this.state, this.silence || LEVEL_WORDS[level]);
    this.state.dataset.state = stale ? "stale" : level;
    this.showControl(stale);
    this.showFaults();
    setText(this.battery, typeof this.charge === "number" ? `battery ${percent(this.charge)}` : "");
    const left = first?.time_to_limit_seconds;
    setText(this.left, stale ? "No data" : left === 0 ? "At the limit" : duration(left));
    setText(this.who, stale ? "last known readings below" : this.whoText(first, left));
    setText(this.count, `${this.motors.size} motor${this.motors.size === 1 ? "" : "s"}`);
    for (const motor of this.motors.values()) motor.show(motor.data.joint === this.firstJoint && typeof left === "number");
    this.readings.show([...this.motors.values()].map((motor) => motor.data), quantities);
    this.draw(fleet);
  }

  // Why the robot needs attention, most important first; empty if it does not.
  get problems() {
    if (this.silence) return [this.silence];
    const control = this.faults.filter((fault) => fault.component === "control").map((fault) => fault.message);
    const others = this.faults.filter((fault) => fault.component !== "control");
    return [...control, ...others.map((fault) => `${jointName(fault.component)}: ${fault.message}`)];
  }

  // 0 for a stop, then errors, warnings and robots without messages.
  get severity() {
    if (this.silence) return 3;
    if (this.condition === "stopped") return 0;
    return this.faults.some((fault) => fault.status === "error") ? 1 : 2;
  }

  showControl(stale) {
    this.control.hidden = !this.mode || stale;
    if (!this.mode) return;
    setText(this.control, this.mode.message);
    this.control.dataset.status = this.mode.status;
  }

  // The control mode has a chip of its own; every other warning or error is a line of the list.
  showFaults() {
    const lines = this.faults.filter((fault) => fault.component !== "control");
    while (this.faultList.children.length > lines.length) this.faultList.lastChild.remove();
    while (this.faultList.children.length < lines.length) {
      const item = make("li", "", this.faultList);
      make("strong", "", item);
      make("span", "", item);
    }
    this.faultList.hidden = lines.length === 0;
    lines.forEach((fault, place) => {
      const item = this.faultList.children[place];
      item.dataset.status = fault.status;
      setText(item.firstChild, fault.status);
      setText(item.lastChild, `${jointName(fault.component)}: ${fault.message}`);
    });
  }

  whoText(first, left) {
    if (!first) return "no motors";
    if (left === 0) return `${jointName(first.joint)} is at its limit`;
    if (typeof left === "number") return `until ${jointName(first.joint)} reaches its limit` + this.episodesText();
    return left === "inf" ? "no motor reaches its limit at this load" + this.episodesText() : "time to limit unknown";
  }

  episodesText() {
    const counts = [...this.motors.values()].map((motor) => motor.data.episodes_left).filter((n) => typeof n === "number");
    if (!counts.length) return "";
    const least = Math.min(...counts);
    return `; about ${least} more episode${least === 1 ? "" : "s"}`;
  }

  worst() {
    const levels = ["unknown", "cool", "warm", "hot", "over"];
    let found = 0;
    for (const motor of this.motors.values()) found = Math.max(found, levels.indexOf(motor.data.level));
    return levels[found];
  }

  // A short history spans two minutes and a full one ten, in whole minutes, which keeps the scale steady.
  span(fleet, motor, now) {
    const past = motor?.history.length ? now - motor.history[0][0] : 0;
    return Math.min(fleet.history_period_s * fleet.history_length, Math.max(120, 60 * Math.ceil(past / 60)));
  }

  draw(fleet) {
    const now = fleet.now_s, gap = 3 * fleet.history_period_s;
    if (now - this.drawn < fleet.history_period_s) return;
    this.drawn = now;
    const first = this.motors.get(this.firstJoint);
    const span = this.span(fleet, first, now);
    if (first) this.big.draw(first.data, first.history, now, span, gap);
    if (!this.details.open) return;
    for (const motor of this.motors.values()) motor.chart.draw(motor.data, motor.history, now, span, gap);
  }
}
