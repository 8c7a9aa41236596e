// Keys, buttons and gamepad buttons of the operator.

import { toggleSpeech } from "./show.js";
import { isOpen, step, toggleReview } from "./review.js";

const KEYS = {
  Enter: "start", 1: "save", 0: "fail", Backspace: "discard", z: "undo", t: "next_task", n: "reset", v: "enable", m: "mark",
  " ": "stop_motion",
};
// Of the standard gamepad: the button's index -> its request.
const PAD = { 0: "save", 1: "stop_motion", 2: "start", 3: "fail", 8: "undo", 9: "enable" };

export function listen({ request, take, give }) {
  const other = { c: take, h: give, s: toggleSpeech, r: toggleReview };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest?.("input[type=text], input[type=password]")) {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    if (isOpen() && (event.key === "ArrowLeft" || event.key === "ArrowRight")) {
      event.preventDefault();
      step(event.key === "ArrowLeft" ? -1 : 1, event.shiftKey);
      return;
    }
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const name = KEYS[key];
    if (!name && !other[key]) return;
    // Space and enter would also press the button that has the focus.
    if (event.target.closest?.("button") && key === "Enter") return;
    event.preventDefault();
    if (event.repeat) return;
    // In the review these keys would concern another episode than the one that is shown.
    if (isOpen() && ["save", "fail", "discard", "undo"].includes(name)) return;
    if (name) request(name);
    else other[key]();
  });
  document.addEventListener("keyup", (event) => {
    if (event.key === " ") event.preventDefault();
  });
  for (const button of document.querySelectorAll("[data-request]")) {
    button.addEventListener("click", () => request(button.dataset.request));
  }
  document.getElementById("take").addEventListener("click", take);
  document.getElementById("give").addEventListener("click", give);
  document.getElementById("speech").addEventListener("click", toggleSpeech);
  readPads(request);
}

function readPads(request) {
  const pressed = new Set();
  const label = document.getElementById("pad");
  setInterval(() => {
    const pads = [...(navigator.getGamepads?.() ?? [])].filter((pad) => pad?.connected);
    label.textContent = pads.length ? "gamepad or pedal connected" : "";
    for (const pad of pads) {
      for (const [index, name] of Object.entries(PAD)) {
        const id = `${pad.index}:${index}`;
        const down = pad.buttons[index]?.pressed;
        if (down && !pressed.has(id)) request(name);
        if (down) pressed.add(id);
        else pressed.delete(id);
      }
    }
  }, 20);
}
