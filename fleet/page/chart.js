// A temperature history as SVG: winding, housing, limit and bands over a span of time.

const SVG = "http://www.w3.org/2000/svg";
const COLD_C = 20;

function make(name, attributes, parent) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  parent.append(element);
  return element;
}

// The stretches of a history without an unknown sample and without missing time, as lists of [x, y].
function stretches(history, column, gap, x, y) {
  const found = [];
  let before = -Infinity;
  for (const sample of history) {
    if (typeof sample[column] !== "number") { before = -Infinity; continue; }
    if (sample[0] - before > gap) found.push([]);
    found.at(-1).push([x(sample[0]).toFixed(1), y(sample[column]).toFixed(1)]);
    before = sample[0];
  }
  return found;
}

// A single sample is a dot: a line of no length with round ends.
function line(stretch) {
  return "M" + stretch.map((point) => point.join(" ")).join("L") + (stretch.length === 1 ? "h0" : "");
}

function area(stretch, bottom) {
  return stretch.length === 1 ? "" : `${line(stretch)}L${stretch.at(-1)[0]} ${bottom}L${stretch[0][0]} ${bottom}Z`;
}

export class Chart {
  constructor(parent, { width, height, labels = false }) {
    Object.assign(this, { width, height, labels });
    this.svg = make("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", class: labels ? "chart large" : "chart" }, parent);
    if (!labels) this.svg.setAttribute("preserveAspectRatio", "none");
    this.warm = make("line", { class: "band warm" }, this.svg);
    this.hot = make("line", { class: "band hot" }, this.svg);
    this.limit = make("line", { class: "limit" }, this.svg);
    this.fill = make("path", { class: "area" }, this.svg);
    this.housing = make("path", { class: "housing" }, this.svg);
    this.winding = make("path", { class: "winding" }, this.svg);
    if (labels) {
      this.limitText = make("text", { x: 2 }, this.svg);
      this.from = make("text", { x: 2, y: height - 2 }, this.svg);
      this.to = make("text", { x: width - 2, y: height - 2, "text-anchor": "end" }, this.svg);
      this.to.textContent = "now";
    }
  }

  // Times and spans in seconds; samples that are farther apart than `gap` are not connected.
  draw(motor, history, now, span, gap) {
    const bottom = this.labels ? this.height - 14 : this.height - 1, top = this.labels ? 12 : 2;
    let high = typeof motor.limit_celsius === "number" ? motor.limit_celsius : 90, low = COLD_C;
    for (const [, winding, housing] of history) {
      for (const value of [winding, housing]) {
        if (typeof value === "number") { high = Math.max(high, value); low = Math.min(low, value); }
      }
    }
    const x = (when) => this.width * (1 - (now - when) / span);
    const y = (value) => bottom - (bottom - top) * (value - low) / (high - low);
    const shown = history.filter((sample) => now - sample[0] <= span);
    const winding = stretches(shown, 1, gap, x, y);
    this.winding.setAttribute("d", winding.map(line).join(""));
    this.housing.setAttribute("d", stretches(shown, 2, gap, x, y).map(line).join(""));
    this.fill.setAttribute("d", winding.map((stretch) => area(stretch, bottom)).join(""));
    const [warm, hot, over] = motor.bands_celsius ?? [50, 70, 90];
    for (const [line, value] of [[this.warm, warm], [this.hot, hot], [this.limit, motor.limit_celsius ?? over]]) {
      for (const [key, at] of [["x1", 0], ["x2", this.width], ["y1", y(value)], ["y2", y(value)]]) line.setAttribute(key, at);
    }
    if (this.labels) {
      this.limitText.setAttribute("y", y(motor.limit_celsius ?? over) - 3);
      this.limitText.textContent = typeof motor.limit_celsius === "number" ? `limit ${motor.limit_celsius.toFixed(0)} °C` : "limit unknown";
      this.from.textContent = `${Math.round(span / 60)} min ago`;
    }
    const known = shown.map((sample) => sample[1]).filter((value) => typeof value === "number");
    this.svg.setAttribute("aria-label", known.length
      ? `winding over the last ${Math.round(span / 60)} minutes: ${Math.min(...known).toFixed(0)} to ${Math.max(...known).toFixed(0)} °C`
      : "no winding temperature");
  }
}
