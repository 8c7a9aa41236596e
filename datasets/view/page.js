"use strict";
(() => {
  const $ = (id) => document.getElementById(id);
  const content = JSON.parse($("content").textContent);
  const SPEEDS = [0.1, 0.25, 0.5, 1, 2, 4], KINDS = { lost: "lost", gap: "gap", frozen: "image does not change", heat: "at the limit", event: "event" };
  const state = { at: 0, playing: false, speed: 1, from: 0, to: content.duration_s, before: 0, asked: false, updated: 0 };

  // ---- small helpers
  function make(tag, { text, ...rest } = {}, parent) {
    const element = document.createElement(tag);
    if (text !== undefined) element.textContent = text;
    for (const [key, value] of Object.entries(rest)) {
      if (key in element && key !== "list") element[key] = value; else element.setAttribute(key, value);
    }
    if (parent) parent.append(element);
    return element;
  }

  function decode(line) {
    if (Uint8Array.fromBase64) return Uint8Array.fromBase64(line);
    const text = atob(line), out = new Uint8Array(text.length);
    for (let i = 0; i < text.length; i++) out[i] = text.charCodeAt(i);
    return out;
  }

  // Return the decoded lines of a data element and remove the element.
  function take(name) {
    const element = $(name), parts = element.textContent.trim().split("\n").filter(Boolean).map(decode);
    element.remove();
    return parts;
  }

  function joined(name) {
    const parts = take(name), out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
    let at = 0;
    for (const part of parts) { out.set(part, at); at += part.length; }
    return out.buffer;
  }

  // Return the index of the last entry of a non-decreasing array that is at most `value`; -1 before the first.
  function lastUpTo(times, value) {
    let low = 0, high = times.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (times[middle] <= value) low = middle + 1; else high = middle;
    }
    return low - 1;
  }

  const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
  const seconds = (value) => value.toFixed(3) + " s";
  function short(value) {
    if (!Number.isFinite(value)) return Number.isNaN(value) ? "–" : value > 0 ? "∞" : "−∞";
    const size = Math.abs(value);
    return size !== 0 && (size >= 1e5 || size < 1e-3) ? value.toExponential(2) : value.toFixed(size >= 100 ? 1 : size >= 10 ? 2 : 3);
  }

  // ---- facts about the whole episode
  function header() {
    $("number").textContent = "episode " + content.index;
    $("task").textContent = content.task || "no instruction";
    const outcome = $("outcome");
    outcome.textContent = content.outcome + (content.reason && content.reason !== "operator" ? ", " + content.reason : "");
    if (content.outcome === "success") outcome.dataset.state = "good";
    if (content.outcome === "failure" || content.reason === "interrupted") outcome.dataset.state = "bad";
    const lost = content.streams.reduce((sum, stream) => sum + stream.lost, 0);
    $("loss").textContent = lost ? lost + " lost" : "nothing lost";
    $("loss").dataset.state = lost ? "bad" : "good";
    for (const [name, text] of content.facts) {
      const group = make("div", {}, $("facts"));
      make("dt", { text: name }, group);
      make("dd", { text }, group);
    }
    const rows = $("streams").tBodies[0];
    for (const stream of content.streams) {
      const row = make("tr", {}, rows);
      make("td", { text: stream.name, className: "short" }, row);
      make("td", { text: stream.contents, className: "quiet" }, row);
      make("td", { text: stream.count, className: "number" }, row);
      make("td", { text: stream.lost, className: stream.lost ? "number bad" : "number" }, row);
      make("td", { text: stream.rate_hz === null ? "–" : stream.rate_hz.toFixed(1) + " of " + stream.nominal_hz.toFixed(1) + " Hz", className: "number" }, row);
      make("td", { text: (1e3 * stream.longest_gap_s).toFixed(0) + " ms", className: "number" }, row);
    }
    for (const note of content.notes) make("li", { text: note }, $("notes"));
    $("notes-card").hidden = !content.notes.length;
  }

  // ---- cameras: videos have a constant rate, the stamps are the actual times
  const cameras = content.cameras.map((camera, place) => {
    const figure = make("figure", {}, $("cameras")), screen = make("div", { className: "screen" }, figure);
    const video = make("video", { muted: true, playsInline: true, preload: "auto", width: camera.width, height: camera.height }, screen);
    video.setAttribute("aria-label", camera.name);
    const badge = make("span", { className: "badge", hidden: true }, screen);
    const caption = make("figcaption", {}, figure);
    make("b", { text: camera.name }, caption);
    const frame = make("span", { className: "frame" }, caption);
    const note = [camera.note, camera.latency_ms ? "corrected by " + camera.latency_ms.toFixed(1) + " ms latency" : ""].filter(Boolean).join("; ");
    if (note) make("span", { className: "note", text: note }, caption);
    const self = { ...camera, stamps: new Float64Array(joined("stamps-" + place)), video, badge, frame, wanted: -1, sought: -1, drawn: -1 };
    video.addEventListener("error", () => {
      badge.hidden = false;
      badge.textContent = "this browser cannot play the video";
    });
    video.addEventListener("loadedmetadata", () => { self.sought = -1; request(); });
    video.addEventListener("seeked", request);
    if (video.requestVideoFrameCallback) {
      const drawn = (_, metadata) => {
        self.drawn = Math.round(metadata.mediaTime * self.fps);
        video.dataset.frame = self.drawn;
        video.requestVideoFrameCallback(drawn);
      };
      video.requestVideoFrameCallback(drawn);
    }
    video.src = URL.createObjectURL(new Blob(take("video-" + place), { type: "video/mp4" }));
    figure.addEventListener("dblclick", () => screen.requestFullscreen?.());
    return self;
  });
  $("cameras").classList.toggle("many", cameras.length > 2);
  document.querySelector("main").classList.toggle("two", cameras.length > 0);

  function follow(camera) {
    const index = lastUpTo(camera.stamps, state.at), video = camera.video;
    camera.wanted = Math.max(index, 0);
    if (video.readyState < 1 || video.error) return;
    const target = (camera.wanted + 0.5) / camera.fps, ahead = video.currentTime - target;
    if (!state.playing) {
      if (!video.paused) video.pause();
      if (camera.sought !== camera.wanted && !video.seeking) {
        camera.sought = camera.wanted;
        video.currentTime = target;
      }
      return;
    }
    camera.sought = -1;
    if (Math.abs(ahead) > Math.max(0.4, 4 / camera.fps)) {
      if (!video.seeking) video.currentTime = target;
    } else if (ahead > 1 / camera.fps) {
      if (!video.paused) video.pause();  // a gap: the last frame stays until the next one
    } else {
      video.playbackRate = clamp(state.speed * (1 - 1.5 * ahead), 0.0625, 16);
      if (video.paused && !video.ended) video.play().catch(() => {});
    }
  }

  function caption(camera) {
    const since = state.at - camera.stamps[camera.wanted], index = state.at < camera.stamps[0] ? -1 : camera.wanted;
    camera.frame.textContent = index < 0 ? "not started" : "frame " + index + " of " + camera.frames + ", " + seconds(camera.stamps[index]);
    if (camera.video.error) return;
    const old = index >= 0 && since > 2.5 * camera.period_s;
    camera.badge.hidden = !old;
    if (old) camera.badge.textContent = "no frame for " + (1e3 * since).toFixed(0) + " ms";
  }

  // ---- curves
  const tables = content.tables.map((table, place) => ({
    columns: table.columns,
    times: new Float64Array(joined("time-" + place)),
    values: new Float32Array(joined("values-" + place)),
  }));
  const ROLES = { state: "--state", command: "--command", sent: "--sent" };
  let style = getComputedStyle(document.documentElement);
  const panels = [], seen = new Set();
  const watcher = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      const panel = entry.target.panel;
      if (entry.isIntersecting) { seen.add(panel); panel.stale = true; } else seen.delete(panel);
    }
    request();
  }, { rootMargin: "200px" });
  const sizes = new ResizeObserver(() => { redraw(); });

  function color(line, place, count) {
    if (ROLES[line.name]) return style.getPropertyValue(ROLES[line.name]).trim();
    if (count === 1) return style.getPropertyValue("--state").trim();
    return "hsl(" + Math.round(205 + 360 * place / count) % 360 + " 65% " + style.getPropertyValue("--light").trim() + ")";
  }

  function build() {
    let group = "", parent = $("panels");
    for (const described of content.panels) {
      if (described.group !== group) {
        group = described.group;
        if (group === "Other streams") {
          const details = make("details", {}, $("panels"));
          make("summary", { text: group }, details);
          parent = make("div", { className: "more" }, details);
        } else make("h2", { text: group }, parent);
      }
      const box = make("div", { className: described.group === "Motors" && ["winding", "current", "duty"].includes(described.title) ? "panel wide" : "panel" }, parent);
      const title = make("h3", { text: described.title }, box);
      if (described.unit !== "1") make("span", { text: described.unit }, title);
      const plot = make("div", { className: "plot" }, box);
      const canvas = make("canvas", { role: "img" }, plot), now = make("div", { className: "now" }, plot), list = make("ul", { className: "lines" }, box);
      canvas.setAttribute("aria-label", described.title + " over time");
      const lines = described.lines.map((line) => {
        const item = make("li", {}, list), swatch = make("i", {}, item);
        make("span", { text: line.name, title: line.limit === null ? line.name : line.name + ", limit " + short(line.limit) }, item);
        return { ...line, item, swatch, value: make("b", {}, item) };
      });
      const panel = { plot, canvas, now, lines, stale: true, range: null, chosen: -1 };
      // Of many lines, the one under the pointer is highlighted.
      if (lines.length > 3) {
        list.classList.add("many");
        lines.forEach((line, place) => {
          line.item.addEventListener("pointerenter", () => { panel.chosen = place; panel.stale = true; request(); });
          line.item.addEventListener("pointerleave", () => { panel.chosen = -1; panel.stale = true; request(); });
        });
      }
      plot.panel = panel;
      panels.push(panel);
      watcher.observe(plot);
      sizes.observe(plot);
      drag(plot, (x, width) => seek(state.from + (state.to - state.from) * x / width));
    }
  }

  // Minimum and maximum over the whole episode, so that the scale does not change while scrolling.
  function range(panel) {
    if (panel.range) return panel.range;
    let low = Infinity, high = -Infinity;
    for (const line of panel.lines) {
      const { columns, values } = tables[line.table];
      for (let i = line.column; i < values.length; i += columns) {
        const value = values[i];
        if (!Number.isFinite(value)) continue;
        if (value < low) low = value;
        if (value > high) high = value;
      }
    }
    const limits = panel.lines.map((line) => line.limit).filter((limit) => limit !== null);
    // A limit is shown unless it compresses the curves into less than a quarter of the chart.
    for (const limit of limits) if (limit - low <= 4 * Math.max(high - low, 8)) high = Math.max(high, limit);
    if (low > high) { low = 0; high = 1; }
    const room = high - low > 1e-9 ? 0.06 * (high - low) : Math.max(Math.abs(high) * 0.1, 0.01);
    return (panel.range = [low - room, high + room]);
  }

  function draw(panel) {
    panel.stale = false;
    const width = panel.plot.clientWidth, height = panel.plot.clientHeight, ratio = devicePixelRatio || 1;
    if (!width) return;
    panel.canvas.width = Math.round(width * ratio);
    panel.canvas.height = Math.round(height * ratio);
    const pen = panel.canvas.getContext("2d"), [low, high] = range(panel);
    pen.scale(ratio, ratio);
    const x = (time) => width * (time - state.from) / (state.to - state.from), y = (value) => height - height * (value - low) / (high - low);
    pen.font = "10px system-ui, sans-serif";
    pen.lineWidth = 1;
    const step = nice((high - low) / 4);
    for (let value = Math.ceil(low / step) * step; value <= high; value += step) {
      pen.strokeStyle = style.getPropertyValue("--grid");
      pen.beginPath(); pen.moveTo(0, Math.round(y(value)) + 0.5); pen.lineTo(width, Math.round(y(value)) + 0.5); pen.stroke();
    }
    pen.strokeStyle = style.getPropertyValue("--heat");
    pen.setLineDash([5, 4]);
    for (const limit of new Set(panel.lines.map((line) => line.limit))) {
      if (limit === null || limit > high) continue;
      pen.beginPath(); pen.moveTo(0, y(limit)); pen.lineTo(width, y(limit)); pen.stroke();
    }
    pen.setLineDash([]);
    panel.lines.forEach((line, place) => {
      const ink = color(line, place, panel.lines.length);
      line.swatch.style.background = ink;
      pen.strokeStyle = ink;
      pen.lineWidth = line.name === "state" || place === panel.chosen ? 1.8 : 1.3;
      pen.globalAlpha = panel.chosen < 0 || place === panel.chosen ? 1 : 0.15;
      pen.setLineDash(line.name === "sent" && panel.lines.length > 1 ? [4, 3] : []);
      curve(pen, tables[line.table], line.column, x, y, width);
    });
    pen.setLineDash([]);
    pen.globalAlpha = 1;
    pen.fillStyle = style.getPropertyValue("--quiet");
    for (let value = Math.ceil(low / step) * step; value <= high; value += step) if (y(value) > 14) pen.fillText(axis(value, step), 2, y(value) - 3);
  }

  const axis = (value, step) => value.toFixed(Math.max(0, -Math.floor(Math.log10(step) + 1e-9)));
  function nice(rough) {
    const power = 10 ** Math.floor(Math.log10(rough));
    return power * (rough / power > 5 ? 10 : rough / power > 2 ? 5 : rough / power > 1 ? 2 : 1);
  }

  // Draw at most the first, minimum, maximum and last sample per pixel column: fast, without losing peaks.
  function curve(pen, { times, values, columns }, column, x, y, width) {
    const first = Math.max(lastUpTo(times, state.from), 0), last = Math.min(lastUpTo(times, state.to) + 2, times.length);
    pen.beginPath();
    let down = false, pixel = NaN, low = 0, high = 0, end = 0;
    const flush = () => { if (low !== high) { pen.lineTo(pixel + 0.5, y(low)); pen.lineTo(pixel + 0.5, y(high)); } pen.lineTo(pixel + 0.5, y(end)); };
    for (let i = first; i < last; i++) {
      const value = values[i * columns + column];
      if (!Number.isFinite(value)) { if (down) flush(); down = false; pixel = NaN; continue; }
      const here = Math.floor(x(times[i]));
      if (down && here === pixel) { low = Math.min(low, value); high = Math.max(high, value); end = value; continue; }
      if (down) { flush(); pen.lineTo(here + 0.5, y(value)); } else pen.moveTo(here + 0.5, y(value));
      down = true; pixel = here; low = high = end = value;
    }
    if (down) { flush(); if (last - first === 1) pen.lineTo(width, y(end)); }
    pen.stroke();
  }

  function values(panel) {
    for (const line of panel.lines) {
      const table = tables[line.table], row = lastUpTo(table.times, state.at);
      const value = row < 0 ? NaN : table.values[row * table.columns + line.column];
      line.value.textContent = short(value);
      line.item.classList.toggle("over", line.limit !== null && value >= line.limit);
    }
  }

  function redraw() {
    style = getComputedStyle(document.documentElement);
    for (const panel of panels) panel.stale = true;
    request();
  }

  // ---- timeline
  const lanes = [];
  function timeline() {
    const box = $("timeline"), other = content.marks.filter((mark) => !content.cameras.some((camera) => camera.name === mark.stream));
    const rows = content.cameras.map((camera) => [camera.name, content.marks.filter((mark) => mark.stream === camera.name)]);
    rows.push(["joints, motors", other.filter((mark) => mark.kind !== "event")], ["events", other.filter((mark) => mark.kind === "event")]);
    for (const [name, marks] of rows) {
      const lane = make("div", { className: "lane" }, box);
      make("span", { text: name.replace(/^cameras\//, ""), title: name }, lane);
      const track = make("div", { className: "track" }, lane);
      for (const mark of marks) {
        const button = make("button", { type: "button", title: seconds(mark.start_s) + "  " + (mark.stream ? mark.stream + ": " : "") + mark.text, tabIndex: -1 }, track);
        button.dataset.kind = mark.kind;
        button.dataset.start = mark.start_s;
        lanes.push([button, mark]);
      }
    }
    make("div", { className: "scale", id: "scale" }, box);
    make("i", { id: "head" }, make("div", { className: "head-line" }, box));
    drag(box, (_, __, event) => {
      const track = box.querySelector(".track").getBoundingClientRect();
      const mark = event.type === "pointerdown" && event.target.dataset?.start;
      seek(mark ? +mark : state.from + (state.to - state.from) * (event.clientX - track.left) / track.width);
    });
    const kinds = new Set(content.marks.map((mark) => mark.kind));
    for (const kind of Object.keys(KINDS)) if (kinds.has(kind)) make("li", { text: KINDS[kind] }, $("legend")).dataset.kind = kind;
  }

  function spread() {
    const span = state.to - state.from, part = (time) => 100 * (time - state.from) / span;
    for (const [button, mark] of lanes) {
      button.hidden = mark.stop_s < state.from || mark.start_s > state.to;
      const left = clamp(part(mark.start_s), 0, 100);
      button.style.left = "min(" + left + "%, 100% - 3px)";
      button.style.width = Math.max(clamp(part(mark.stop_s), 0, 100) - left, 0) + "%";
    }
    const scale = $("scale"), step = nice(span / 6);
    scale.replaceChildren();
    for (let time = Math.ceil(state.from / step) * step; time <= state.to + 1e-9; time += step) {
      const label = make("span", { text: axis(time, step) + " s" }, scale), at = part(time);
      label.style.left = at + "%";
      if (at < 3) label.className = "first"; else if (at > 97) label.className = "last";
    }
  }

  function list() {
    const rows = $("marks").tBodies[0];
    $("marks-count").textContent = content.marks.length ? "" : "nothing was lost, frozen, hot or noted";
    document.querySelector("#marks-card .scroll").hidden = !content.marks.length;
    for (const mark of content.marks) {
      const row = make("tr", {}, rows), time = make("td", { className: "number" }, row);
      make("button", { type: "button", text: seconds(mark.start_s) }, time).addEventListener("click", () => seek(mark.start_s));
      const kind = make("span", { className: "kind", text: KINDS[mark.kind] }, make("td", { className: "short" }, row));
      kind.dataset.kind = mark.kind;
      make("td", { text: mark.stream, className: "quiet" }, row);
      make("td", { text: mark.text }, row);
    }
  }

  // ---- time
  function drag(element, act) {
    const go = (event) => { const box = element.getBoundingClientRect(); act(clamp(event.clientX - box.left, 0, box.width), box.width, event); };
    element.addEventListener("pointerdown", (event) => {
      if (event.button) return;
      element.setPointerCapture(event.pointerId);
      event.preventDefault();
      go(event);
    });
    element.addEventListener("pointermove", (event) => { if (element.hasPointerCapture(event.pointerId)) go(event); });
  }

  function seek(time) {
    state.at = clamp(time, 0, content.duration_s);
    if (state.at < state.from || state.at > state.to) show(state.at - (state.to - state.from) / 2, state.to - state.from);
    request();
  }

  function show(from, span) {
    const wide = clamp(span, Math.min(0.05, content.duration_s), content.duration_s);
    state.from = clamp(from, 0, content.duration_s - wide);
    state.to = state.from + wide;
    spread();
    redraw();
  }

  const zoom = (factor) => { const span = (state.to - state.from) * factor; show(state.at - span * (state.at - state.from) / (state.to - state.from), span); };

  function play(on) {
    if (on && state.at >= content.duration_s) state.at = 0;
    state.playing = on;
    state.before = performance.now();
    $("play").classList.toggle("on", on);
    $("play").setAttribute("aria-label", on ? "Pause" : "Play");
    request();
  }

  // One frame of the first camera, or 0.01 s without cameras.
  function step(way) {
    play(false);
    if (!cameras.length) return seek(state.at + way * 0.01);
    const stamps = cameras[0].stamps;
    let index = lastUpTo(stamps, state.at) + way;
    while (index > 0 && index < stamps.length - 1 && stamps[index] === stamps[index + way]) index += way;
    seek(stamps[clamp(index, 0, stamps.length - 1)]);
  }

  function jump(way) {
    const starts = content.marks.map((mark) => clamp(mark.start_s, 0, content.duration_s));
    const found = way > 0 ? starts.find((time) => time > state.at + 1e-6) : starts.findLast((time) => time < state.at - 1e-6);
    if (found !== undefined) seek(found);
  }

  function speed(value) {
    state.speed = value;
    $("speed").value = String(value);
  }

  function request() {
    if (state.asked) return;
    state.asked = true;
    requestAnimationFrame(frame);
  }

  function frame(now) {
    state.asked = false;
    if (state.playing) {
      state.at += clamp((now - state.before) / 1e3, 0, 0.25) * state.speed;
      state.before = now;
      if (state.at >= content.duration_s) { state.at = content.duration_s; play(false); }
      if (state.at > state.to) show(state.at, state.to - state.from);
    }
    for (const camera of cameras) { follow(camera); caption(camera); }
    const part = (state.at - state.from) / (state.to - state.from), fresh = !state.playing || now - state.updated > 80;
    if (fresh) state.updated = now;
    for (const panel of seen) {
      if (panel.stale) draw(panel);
      panel.now.style.transform = "translateX(" + part * panel.plot.clientWidth + "px)";
      if (fresh) values(panel);
    }
    $("head").style.left = 100 * part + "%";
    $("clock").replaceChildren(seconds(state.at), make("span", { text: " / " + seconds(content.duration_s) }));
    if (state.playing) request();
  }

  function keys(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("select, input")) return;
    const place = SPEEDS.indexOf(state.speed), side = event.shiftKey ? 1 : 0;
    const known = {
      " ": () => play(!state.playing),
      ArrowLeft: () => side ? seek(state.at - 1) : step(-1),
      ArrowRight: () => side ? seek(state.at + 1) : step(1),
      Home: () => seek(0), End: () => seek(content.duration_s),
      n: () => jump(1), p: () => jump(-1),
      "[": () => speed(SPEEDS[Math.max(place - 1, 0)]), "]": () => speed(SPEEDS[Math.min(place + 1, SPEEDS.length - 1)]),
      "+": () => zoom(0.5), "=": () => zoom(0.5), "-": () => zoom(2), "0": () => show(0, content.duration_s),
    };
    const act = known[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!act) return;
    // A focused button would also handle the space key.
    event.preventDefault();
    act();
  }

  header();
  build();
  timeline();
  list();
  for (const value of SPEEDS) make("option", { text: value + "×", value: String(value) }, $("speed"));
  speed(1);
  $("speed").addEventListener("change", () => speed(+$("speed").value));
  $("play").addEventListener("click", () => play(!state.playing));
  $("previous").addEventListener("click", () => step(-1));
  $("next").addEventListener("click", () => step(1));
  $("zoom-in").addEventListener("click", () => zoom(0.5));
  $("zoom-out").addEventListener("click", () => zoom(2));
  $("zoom-all").addEventListener("click", () => show(0, content.duration_s));
  document.addEventListener("keydown", keys);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  spread();
  request();
})();
