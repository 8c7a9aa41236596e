// The robot, drawn from its own model; each link has the color of its motor's heat.

const NS = "http://www.w3.org/2000/svg";
const shapes = new Map(); // joint -> its links

export async function drawBody() {
  const found = await fetch("body.json");
  if (!found.ok) return;
  const { width, height, parts } = await found.json();
  const svg = document.getElementById("body");
  if (!parts.length) return;
  svg.setAttribute("viewBox", `-10 -10 ${width + 20} ${height + 20}`);
  for (const { joint, points } of parts) {
    const shape = document.createElementNS(NS, "polygon");
    shape.setAttribute("points", points.map((one) => one.join(",")).join(" "));
    const title = document.createElementNS(NS, "title");
    shape.append(title);
    svg.append(shape);
    if (joint) shapes.set(joint, [...(shapes.get(joint) ?? []), shape]);
  }
  svg.removeAttribute("hidden");
}

// Darker to lighter with the heat, from blue to yellow to white: the order is visible without colors, too.
const SCALE = [[36, 68, 110], [61, 125, 176], [120, 180, 190], [229, 185, 46], [255, 225, 130]];

export function heatColor(ratio) {
  const at = Math.max(0, Math.min(1, ratio)) * (SCALE.length - 1);
  const below = Math.min(Math.floor(at), SCALE.length - 2);
  const mixed = SCALE[below].map((value, k) => Math.round(value + (SCALE[below + 1][k] - value) * (at - below)));
  return `rgb(${mixed.join(" ")})`;
}

export function heatRatio({ winding_celsius: winding, limit_celsius: limit }) {
  return winding === null || !limit ? null : (winding - 20) / (limit - 20);
}

export function colorBody(motors, texts) {
  motors.forEach((motor, k) => {
    for (const shape of shapes.get(motor.joint) ?? []) {
      const ratio = heatRatio(motor);
      shape.style.fill = ratio === null ? "" : heatColor(ratio);
      shape.dataset.level = motor.level;
      if (shape.firstChild.textContent !== texts[k]) shape.firstChild.textContent = texts[k];
    }
  });
}
