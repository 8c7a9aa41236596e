// The connection to the console. The page shows what it receives and sends what the operator requests.

import { show, showLost, showImage } from "./show.js";
import { listen } from "./input.js";
import { drawBody } from "./body.js";
import { followReview, listenReview } from "./review.js";
import { connectStop } from "./stop.js";

const SILENT_MS = 3000; // Time without a state after which the connection counts as lost.
const RETRY_MS = 1000;
const REVOKED = 4401; // Code of a connection that is closed since this browser is not paired any more.

// The address of a scanned code contains a PIN, which is of no use to a browser that is already paired.
if (location.hash) history.replaceState(null, "", location.pathname);

let socket = null;
let receivedAt = 0;
let receivedFirst = false;
// By how much the server's clock is ahead of this one, by the last states [s]. A state that was delayed on its way makes
// it look less far ahead, hence the largest value is the best one.
let ahead = [0];

function send(message) {
  if (socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify(message));
}

const stop = connectStop(() => sendRequest("stop_motion"));

function sendRequest(name) {
  send({ kind: "request", name, server_s: Date.now() / 1000 + Math.max(...ahead) });
}

function request(name) {
  if (name === "stop_motion") stop();
  else sendRequest(name);
}

async function receive(event) {
  receivedAt = performance.now();
  if (typeof event.data === "string") {
    const state = JSON.parse(event.data);
    ahead = [state.server_s - Date.now() / 1000, ...(receivedFirst ? ahead.slice(0, 19) : [])];
    receivedFirst = true;
    show(state);
    followReview(state);
    return;
  }
  const view = new DataView(event.data);
  const length = view.getUint16(0, true);
  const camera = new TextDecoder().decode(new Uint8Array(event.data, 2, length));
  const stamp = view.getBigInt64(2 + length, true);
  await showImage(camera, new Blob([event.data.slice(10 + length)], { type: "image/jpeg" }));
  // After the next frame of the screen: only then it can be seen.
  requestAnimationFrame(() => send({ kind: "shown", camera, stamp_ns: String(stamp) }));
}

function connect() {
  const opened = new WebSocket(new URL("session", location.href.replace(/^http/, "ws")));
  socket = opened;
  opened.binaryType = "arraybuffer";
  opened.onmessage = (event) => socket === opened && receive(event);
  opened.onclose = ({ code }) => {
    if (socket !== opened) return;
    showLost();
    if (code === REVOKED) location.reload();
    setTimeout(connect, RETRY_MS);
  };
}

setInterval(() => {
  if (socket?.readyState === WebSocket.OPEN && receivedAt && performance.now() - receivedAt > SILENT_MS) {
    receivedAt = 0;
    showLost();
    const silent = socket;
    connect();
    silent.close();
  }
}, 500);

listenReview(send);
drawBody();
listen({ request, take: () => send({ kind: "take_control" }), give: () => send({ kind: "hand_over" }) });
connect();
