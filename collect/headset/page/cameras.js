// The cameras' images. Each is acknowledged once it has been drawn, in the headset or on the page.

const RETRY_MS = 1000;

export class Cameras {
  constructor(pageNumber) {
    this.pageNumber = pageNumber;
    this.images = new Map(); // Camera -> its newest image: bitmap, stamp and number.
    this.drawn = []; // Images of the frame that is being drawn.
    this.connect();
  }

  connect() {
    const socket = new WebSocket(new URL("images", location.href.replace(/^http/, "ws")));
    this.socket = socket;
    socket.binaryType = "arraybuffer";
    socket.onmessage = ({ data }) => this.receive(data);
    socket.onclose = () => setTimeout(() => this.connect(), RETRY_MS);
  }

  async receive(data) {
    const view = new DataView(data);
    const length = view.getUint16(0, true);
    const camera = new TextDecoder().decode(new Uint8Array(data, 2, length));
    const stamp = String(view.getBigInt64(2 + length, true));
    // A byte with the format follows, which is JPEG here.
    const bitmap = await createImageBitmap(new Blob([data.slice(11 + length)], { type: "image/jpeg" }));
    const former = this.images.get(camera);
    former?.bitmap.close();
    const number = (former?.number ?? 0) + 1;
    this.images.set(camera, { camera, stamp, bitmap, number, at: performance.now(), acknowledged: false });
  }

  // The newest image of each camera, by name.
  sorted() {
    return [...this.images.values()].sort((a, b) => (a.camera < b.camera ? -1 : 1));
  }

  // Called when an image is drawn; `acknowledge` follows in the next frame, when it can be seen.
  draw(image) {
    if (!image.acknowledged && !this.drawn.includes(image)) this.drawn.push(image);
  }

  acknowledge() {
    for (const image of this.drawn.splice(0)) {
      image.acknowledged = true;
      if (this.socket.readyState !== WebSocket.OPEN) continue;
      this.socket.send(JSON.stringify({ camera: image.camera, stamp_ns: image.stamp, page: this.pageNumber() }));
    }
  }
}
