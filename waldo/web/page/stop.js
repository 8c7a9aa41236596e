// The stop, on a connection of its own: no image or state can be queued before it.
//
// Without a confirmation in time, the stop is sent over every other way as well. A robot that is stopped twice is
// stopped once.

const RETRY_MS = 1000;
const CONFIRM_MS = 300;

let socket = null;
let waiting = null;

export function connectStop(fallback) {
  open();
  return () => stop(fallback);
}

function open() {
  const opened = new WebSocket(new URL("stop", location.href.replace(/^http/, "ws")));
  socket = opened;
  opened.onmessage = () => {
    clearTimeout(waiting);
    waiting = null;
  };
  opened.onclose = () => setTimeout(open, RETRY_MS);
}

function stop(fallback) {
  if (socket?.readyState !== WebSocket.OPEN) {
    send(fallback);
    return;
  }
  socket.send("stop");
  waiting ??= setTimeout(() => {
    waiting = null;
    send(fallback);
  }, CONFIRM_MS);
}

function send(fallback) {
  fallback();
  fetch("stop", { method: "POST", keepalive: true }).catch(() => {});
}
