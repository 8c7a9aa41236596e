// The connection to the server: poses and requests to it, states and vibrations from it.

const RETRY_MS = 1000;
const SILENT_MS = 2000; // Time without a state after which the connection counts as lost.
const REVOKED = 4401; // Code of a connection that is closed since this browser is not paired any more.
const MAX_BUFFERED = 0; // Poses are dropped while more than this has not left yet [bytes]: a late pose is of no use.

export class Link {
  constructor({ onState, onPulse, onLost }) {
    this.handlers = { onState, onPulse, onLost };
    this.page = 0;
    this.number = 0; // Of the next pose.
    this.dropped = 0;
    this.receivedAt = 0;
    this.connect();
    setInterval(() => this.watch(), 250);
  }

  connect() {
    const socket = new WebSocket(new URL("session", location.href.replace(/^http/, "ws")));
    this.socket = socket;
    socket.binaryType = "arraybuffer";
    socket.onmessage = ({ data }) => socket === this.socket && this.receive(JSON.parse(data));
    socket.onclose = ({ code }) => {
      if (socket !== this.socket) return;
      this.handlers.onLost();
      if (code === REVOKED) location.reload();
      setTimeout(() => this.connect(), RETRY_MS);
    };
  }

  receive(message) {
    this.receivedAt = performance.now();
    if (message.kind === "ping") this.send({ kind: "pong", number: message.number, page_ms: performance.now() });
    else if (message.kind === "page") [this.page, this.number] = [message.number, 0];
    else if (message.kind === "pulse") this.handlers.onPulse(message);
    else if (message.kind === "state") this.handlers.onState(message);
  }

  // A connection that is silent is replaced: the server then releases the robot at once.
  watch() {
    if (this.socket.readyState !== WebSocket.OPEN || !this.receivedAt) return;
    if (performance.now() - this.receivedAt < SILENT_MS) return;
    this.receivedAt = 0;
    this.handlers.onLost();
    const silent = this.socket;
    this.connect();
    silent.close();
  }

  send(message) {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message));
  }

  sendPose(encode) {
    if (this.socket.readyState !== WebSocket.OPEN || this.socket.bufferedAmount > MAX_BUFFERED) {
      this.dropped += 1;
      return;
    }
    this.socket.send(encode(this.number));
    this.number += 1;
  }
}
