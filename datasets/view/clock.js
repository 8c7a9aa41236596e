"use strict";
(() => {
  const L = JSON.parse(document.getElementById("layout").textContent), UNIT = 6 * 4;
  const canvas = document.getElementById("board"), pen = canvas.getContext("2d", { alpha: false, desynchronized: true });
  canvas.width = L.width * UNIT;
  canvas.height = L.height * UNIT;
  pen.fillStyle = "#fff";
  pen.fillRect(0, 0, canvas.width, canvas.height);
  pen.fillStyle = "#000";
  L.markers.forEach(({ x, y, black }) => {
    const side = L.marker * UNIT / 6;
    black.forEach((row, j) => row.forEach((on, i) => { if (on) pen.fillRect(x * UNIT + i * side, y * UNIT + j * side, side, side); }));
  });
  let before = 0, period = 1000 / 60, updated = 0;
  function frame(now) {
    const step = now - before;
    before = now;
    // Smoothed refresh period of the display, without the pauses of an inactive tab.
    if (step > 2 && step < 50) period += 0.05 * (step - period);
    // A value is visible for one period: a camera captures its middle on average.
    const shown = Date.now() + period / 2, value = Math.round(shown / L.tick_ms) % 2 ** L.bits, code = value ^ (value >> 1);
    for (let i = 0; i < L.bits; i++) {
      pen.fillStyle = (code >> (L.bits - 1 - i)) & 1 ? "#000" : "#fff";
      pen.fillRect((L.cell_x + L.cell * (i % L.columns)) * UNIT, (L.cell_y + L.cell * Math.floor(i / L.columns)) * UNIT, L.cell * UNIT, L.cell * UNIT);
    }
    canvas.dataset.value = value;
    if (now - updated > 200) {
      updated = now;
      document.getElementById("now").textContent = new Date(shown).toISOString().slice(11, 21);
      document.getElementById("rate").textContent = "at " + (1000 / period).toFixed(0) + " Hz.";
    }
    requestAnimationFrame(frame);
  }
  document.addEventListener("dblclick", () => document.documentElement.requestFullscreen?.());
  requestAnimationFrame(frame);
})();
