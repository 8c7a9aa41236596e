// Curves over time, drawn by uPlot.

/* global uPlot */

// Distinguishable for the color-blind (Okabe and Ito), and repeated with dashes.
const COLORS = ["#56b4e9", "#e69f00", "#009e73", "#f0e442", "#cc79a7", "#d55e00", "#9fb8ff"];

const ink = "#a9b6c2";
const grid = { stroke: "#33404c", width: 1 };

export class Curves {
  constructor(target, unit, height) {
    Object.assign(this, { target, unit, height, names: "", plot: null });
    new ResizeObserver(() => this.plot?.setSize({ width: target.clientWidth, height })).observe(target);
  }

  // `times` [s], and for each name its values; null where one is unknown.
  draw(times, names, values) {
    const data = [times, ...values];
    if (this.names === names.join() && this.plot) {
      this.plot.setData(data);
      return;
    }
    this.plot?.destroy();
    this.names = names.join();
    const series = names.map((label, k) => ({
      label, stroke: COLORS[k % COLORS.length], width: 1.5, points: { show: false },
      dash: k < COLORS.length ? undefined : [6, 3 + Math.floor(k / COLORS.length)],
      value: (_, value) => (value === null || value === undefined ? "–" : `${value.toFixed(2)} ${this.unit}`),
    }));
    this.plot = new uPlot({
      width: this.target.clientWidth || 300, height: this.height, scales: { x: { time: false } },
      legend: { show: names.length <= 8, live: false },
      cursor: { y: false, drag: { x: false, y: false } },
      axes: [{ stroke: ink, grid, values: (_, found) => found.map((one) => `${one} s`) }, { stroke: ink, grid, size: 46 }],
      series: [{}, ...series],
    }, data, this.target);
  }

  // Marks an instant [s].
  mark(at) {
    if (this.plot) this.plot.setCursor({ left: this.plot.valToPos(at, "x"), top: 0 });
  }
}

// What the page has received since it was opened, at most ten minutes.
export class History {
  constructor(seconds) {
    Object.assign(this, { seconds, times: [], rows: [], started: performance.now() / 1000 });
  }

  add(row) {
    const now = performance.now() / 1000 - this.started;
    if (this.times.length && now - this.times.at(-1) < 1) return false;
    this.times.push(Math.round(now * 10) / 10);
    this.rows.push(row);
    while (this.times[0] < now - this.seconds) {
      this.times.shift();
      this.rows.shift();
    }
    return true;
  }

  columns() {
    const width = this.rows.at(-1)?.length ?? 0;
    return [...Array(width).keys()].map((k) => this.rows.map((row) => row[k] ?? null));
  }
}
