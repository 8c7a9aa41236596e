// The connection to the console. The page shows what it receives and sends what the operator requests.

import { show, showLost, showImage } from "./show.js";
import { listen } from "./input.js";
import { drawBody } from "./body.js";
import { followReview, listenReview } from "./review.js";
import { connectStop } from "./stop.js";
import { Video, decodesH264 } from "./video.js";

const SILENT_MS = 3000; // Time without a state after which the connection counts as lost.
const RETRY_MS = 1000;
const REVOKED = 4401; // Code of a connection that is closed since this browser is not paired any more.
const H264 = 1; // Formats of an image from the server, beside 0 for a JPEG; see app.py.
const H264_KEY = 2;

// The address of a scanned code contains a PIN, which is of no use to a browser that is already paired.
if (location.hash) history.replaceState(null, "", location.pathname);

let socket = null;
let receivedAt = 0;
let receivedFirst = false;
const videos = new Map(); // Camera -> its decoder.
let decodes = decodesH264();
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
  const stamp = String(view.getBigInt64(2 + length, true));
  const format = view.getUint8(10 + length);
  const data = new Uint8Array(event.data, 11 + length);
  if (format === H264 || format === H264_KEY) {
    if (!videos.has(camera)) videos.set(camera, videoOf(camera));
    videos.get(camera).add(data, stamp, format === H264_KEY);
    return;
  }
  showImage(camera, await createImageBitmap(new Blob([data], { type: "image/jpeg" })));
  acknowledge(camera, stamp);
}

// After the next frame of the screen: only then it can be seen.
function acknowledge(camera, stamp) {
  requestAnimationFrame(() => send({ kind: "shown", camera, stamp_ns: stamp }));
}

function videoOf(camera) {
  const onFrame = (frame, stamp) => {
    showImage(camera, frame, frame.displayWidth, frame.displayHeight);
    acknowledge(camera, stamp);
  };
  return new Video(onFrame, () => {
    // The server sends JPEGs instead.
    decodes = Promise.resolve(false);
    forgetVideos();
    send({ kind: "decodes", h264: false });
  });
}

// A new connection starts with a key frame.
function forgetVideos() {
  for (const video of videos.values()) video.close();
  videos.clear();
}

function connect() {
  const opened = new WebSocket(new URL("session", location.href.replace(/^http/, "ws")));
  socket = opened;
  opened.binaryType = "arraybuffer";
  forgetVideos();
  opened.onopen = async () => {
    const h264 = await decodes;
    if (socket === opened) send({ kind: "decodes", h264 });
  };
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
