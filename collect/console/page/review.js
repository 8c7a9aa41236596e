// Review of recorded episodes: scrub through the images, label, discard, restore, and mark subtasks.

import { Curves } from "./curves.js";

const STEP_S = 0.1; // One press of an arrow key.
const byId = (id) => document.getElementById(id);
let curves = null;
let shown = null; // The episode.
let known = ""; // What the list was made of.
let send = () => {};
let operates = false;
let loading = false;
let wanted = null; // Time whose images are to be loaded next [s].

export function listenReview(sendMessage) {
  send = sendMessage;
  curves = new Curves(byId("review-curves"), "rad", 200);
  byId("open-review").addEventListener("click", toggleReview);
  byId("close-review").addEventListener("click", toggleReview);
  byId("scrub").addEventListener("input", () => moveTo(Number(byId("scrub").value)));
  byId("episodes").addEventListener("change", () => load(Number(byId("episodes").value)));
  for (const button of document.querySelectorAll("[data-outcome]")) {
    button.addEventListener("click", () => edit({ outcome: button.dataset.outcome }));
  }
  byId("delete").addEventListener("click", () => edit({ deleted: !shown?.deleted }));
  byId("relabel").addEventListener("submit", (event) => {
    event.preventDefault();
    edit({ task: byId("new-task").value });
  });
  byId("mark-subtask").addEventListener("submit", (event) => {
    event.preventDefault();
    const text = byId("subtask-text").value.trim();
    if (!text || !shown) return;
    edit({ subtasks: [...shown.subtasks, { start_s: Number(byId("scrub").value), text }] });
    byId("subtask-text").value = "";
  });
}

export const isOpen = () => !byId("review").hidden;

export function toggleReview() {
  byId("review").hidden = isOpen();
  document.body.dataset.review = String(isOpen());
  byId("open-review").setAttribute("aria-expanded", String(isOpen()));
  if (isOpen()) {
    known = "";
    byId("review").scrollIntoView({ block: "nearest" });
    byId("scrub").focus();
  }
}

export function step(direction, large) {
  if (!isOpen() || !shown) return;
  const at = Number(byId("scrub").value) + direction * (large ? 10 : 1) * STEP_S;
  byId("scrub").value = at;
  moveTo(Number(byId("scrub").value));
}

// Called with each state: a new or changed episode is shown; the start of the next one closes the review.
export function followReview(state) {
  operates = state.role === "operator";
  for (const one of document.querySelectorAll("#review button, #review input[type=text]")) one.disabled = !operates;
  byId("close-review").disabled = false;
  const recorder = state.recorder;
  if (recorder?.state === "recording" && isOpen()) toggleReview();
  if (!isOpen() || !recorder || recorder.pending) return;
  const now = `${recorder.saved}/${state.edits}`;
  if (now !== known) {
    const isNew = known.split("/")[0] !== now.split("/")[0];
    known = now;
    refresh(isNew);
  }
}

async function refresh(isNew) {
  const response = await fetch("episodes");
  if (!response.ok) return;
  const episodes = await response.json();
  const options = episodes.map(({ episode, task, outcome, deleted }) => {
    const option = document.createElement("option");
    option.value = episode;
    option.textContent = `${episode}: ${outcome}${deleted ? ", deleted" : ""}${task ? `: ${task}` : ""}`;
    return option;
  });
  byId("episodes").replaceChildren(...options);
  byId("review-title").textContent = episodes.length ? "" : "No episode yet";
  if (!episodes.length) return;
  const keep = !isNew && shown && episodes.some(({ episode }) => episode === shown.episode);
  load(keep ? shown.episode : episodes[0].episode, keep);
}

async function load(index, keepTime = false) {
  const response = await fetch(`episodes/${index}`);
  if (!response.ok) {
    byId("review-title").textContent = await response.text();
    return;
  }
  shown = await response.json();
  byId("episodes").value = index;
  byId("review-title").textContent = `${shown.outcome}${shown.deleted ? ", deleted" : ""}, ${shown.duration_s.toFixed(1)} s`;
  byId("new-task").value = shown.task;
  byId("delete").textContent = shown.deleted ? "Restore" : "Delete";
  for (const button of document.querySelectorAll("[data-outcome]")) {
    button.setAttribute("aria-pressed", String(button.dataset.outcome === shown.outcome));
  }
  const scrub = byId("scrub");
  scrub.max = shown.duration_s;
  if (!keepTime) scrub.value = 0;
  showCameras();
  showLines();
  const { time_s: times, series } = shown.curves;
  curves.draw(times, series.map(({ name }) => name), series.map(({ values }) => values));
  moveTo(Number(scrub.value));
}

function showCameras() {
  const figures = shown.cameras.map((camera) => {
    const figure = document.createElement("figure");
    const image = document.createElement("img");
    const caption = document.createElement("figcaption");
    figure.className = "camera";
    image.alt = `camera ${camera} of episode ${shown.episode}`;
    image.dataset.camera = camera;
    caption.textContent = camera;
    figure.append(image, caption);
    return figure;
  });
  byId("review-cameras").replaceChildren(...figures);
}

function showLines() {
  const subtasks = shown.subtasks.map((one, k) => {
    const line = jump(one.start_s, one.text);
    const remove = document.createElement("button");
    remove.textContent = "Remove";
    remove.setAttribute("aria-label", `Remove subtask ${one.text}`);
    remove.disabled = !operates;
    remove.addEventListener("click", () => edit({ subtasks: shown.subtasks.filter((_, other) => other !== k) }));
    line.append(remove);
    return line;
  });
  byId("subtasks").replaceChildren(...subtasks);
  const events = shown.events.filter(({ kind }) => kind !== "subtask" && kind !== "control_mode");
  byId("events").replaceChildren(...events.map((one) => jump(one.at_s, one.text)));
}

function jump(at, text) {
  const line = document.createElement("li");
  const button = document.createElement("button");
  button.className = "jump";
  button.textContent = `${at.toFixed(1)} s`;
  button.addEventListener("click", () => {
    byId("scrub").value = at;
    moveTo(at);
  });
  line.append(button, ` ${text} `);
  return line;
}

function moveTo(at) {
  byId("scrub-time").textContent = `${at.toFixed(1)} s`;
  const subtask = shown?.subtasks.findLast(({ start_s: start }) => start <= at);
  byId("scrub-subtask").textContent = subtask?.text ?? "";
  curves.mark(at);
  wanted = at;
  if (!loading) loadImages();
}

// One image of each camera at a time: while they load, only the last position counts.
async function loadImages() {
  loading = true;
  while (wanted !== null && shown) {
    const at = wanted;
    wanted = null;
    const images = [...document.querySelectorAll("#review-cameras img")];
    await Promise.all(images.map((image) => {
      image.src = `episodes/${shown.episode}/image?camera=${encodeURIComponent(image.dataset.camera)}&at_s=${at}`;
      return image.decode().catch(() => {});
    }));
  }
  loading = false;
}

function edit(change) {
  if (shown) send({ kind: "edit", episode: shown.episode, change });
}
