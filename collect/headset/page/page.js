// The page: starts a session in the headset or on the phone, and shows the robot's state beside it.

import { Cameras } from "./cameras.js";
import { MODES, pulse, startSession } from "./immersive.js";
import { Link } from "./link.js";
import { connectStop } from "./stop.js";

const STALE_S = 0.5; // Time without an image from which a camera is marked.
const byId = (id) => document.getElementById(id);

let session = null;
let state = { word: "CONNECTING", level: 2, reason: "", role: "watcher", notices: [], ages_s: {} };

// The address of a scanned code contains a PIN, which is of no use to a browser that is already paired.
if (location.hash) history.replaceState(null, "", location.pathname);

const link = new Link({
  onState(found) {
    state = found;
    show();
  },
  onPulse: (message) => pulse(session, message),
  onLost() {
    document.body.dataset.connection = "lost";
    state = { ...state, word: "NOT CONNECTED", level: 2, reason: "the robot holds" };
    session?.end();
  },
});
const cameras = new Cameras(() => link.page);
const stop = connectStop(() => {});

function show() {
  document.body.dataset.connection = "open";
  document.title = `${state.word} · waldo headset`;
  byId("condition").dataset.level = String(state.level);
  setText(byId("word"), state.word);
  setText(byId("reason"), state.reason);
  const watches = state.rights === "watch" ? "This browser is paired to watch." : "";
  const taken = state.taken ? "Another page operates the robot." : "";
  setText(byId("role"), session && state.role === "operator" ? "You operate." : watches || taken);
  for (const mode of Object.keys(MODES)) byId(mode).disabled = !available.has(mode) || Boolean(watches || taken);
  byId("notices").replaceChildren(...state.notices.map(({ text, level }) => {
    const item = document.createElement("li");
    item.textContent = text;
    item.dataset.level = level;
    return item;
  }).reverse());
}

// Only changes are written: a live region reads out what is written.
function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

async function start(name) {
  byId("overlay").hidden = !MODES[name].phone;
  const options = { link, cameras, getState: () => state, overlay: byId("overlay"), onEnd };
  try {
    session = await startSession(MODES[name], options);
  } catch (error) {
    byId("overlay").hidden = true;
    setText(byId("role"), `It cannot start: ${error.message}`);
  }
}

function onEnd() {
  session = null;
  byId("overlay").hidden = true;
}

// The images on the page itself, while no session draws them.
const figures = new Map();

function drawPage() {
  requestAnimationFrame(drawPage);
  if (session) return;
  cameras.acknowledge();
  for (const image of cameras.sorted()) {
    const { figure, canvas, caption, number } = figures.get(image.camera) ?? addFigure(image.camera);
    const seconds = (performance.now() - image.at) / 1000;
    figure.dataset.stale = String(seconds > STALE_S);
    setText(caption, seconds > STALE_S ? `${image.camera}: no image for ${seconds.toFixed(1)} s` : image.camera);
    if (number === image.number) continue;
    figures.get(image.camera).number = image.number;
    [canvas.width, canvas.height] = [image.bitmap.width, image.bitmap.height];
    canvas.getContext("2d").drawImage(image.bitmap, 0, 0);
    cameras.draw(image);
  }
}

function addFigure(camera) {
  const [figure, canvas, caption] = ["figure", "canvas", "figcaption"].map((tag) => document.createElement(tag));
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", `camera ${camera}`);
  figure.append(canvas, caption);
  byId("cameras").append(figure);
  const entry = { figure, canvas, caption, number: 0 };
  figures.set(camera, entry);
  return entry;
}

const available = new Set();

async function findModes() {
  if (!navigator.xr) {
    setText(byId("role"), isSecureContext ? "This browser has no WebXR." : "WebXR needs https, or this machine itself.");
    return;
  }
  const touch = navigator.maxTouchPoints > 0 && !/Quest|Pico|Vision/.test(navigator.userAgent);
  for (const [name, { kind, phone }] of Object.entries(MODES)) {
    if (Boolean(phone) !== touch && kind === "immersive-ar") continue;
    if (await navigator.xr.isSessionSupported(kind)) available.add(name);
  }
}

for (const name of Object.keys(MODES)) byId(name).addEventListener("click", () => start(name));
for (const id of ["stop", "overlay-stop"]) byId(id).addEventListener("click", stop);
byId("overlay-end").addEventListener("click", () => session?.end());
// A touch of a button does not move the robot.
byId("overlay").addEventListener("beforexrselect", (event) => {
  if (event.target.closest("button")) event.preventDefault();
});
document.addEventListener("visibilitychange", () => document.hidden && link.send({ kind: "blur" }));
document.addEventListener("keydown", (event) => {
  if (event.key === " " && !event.repeat) stop();
});
await findModes();
drawPage();
