// Cameras that publish H.264: their access units are decoded here, in order, each into one frame.

const BASELINE = "avc1.42E01F"; // Constrained baseline profile, which every decoder of H.264 supports.
const NAL_SPS = 7;

// Whether this browser decodes H.264; only encrypted pages and those of this machine may.
export async function decodesH264() {
  if (!window.VideoDecoder) return false;
  const { supported } = await VideoDecoder.isConfigSupported({ codec: BASELINE }).catch(() => ({ supported: false }));
  return supported;
}

// The codec of a key frame, from the profile and the level in its sequence parameter set (RFC 6381, section 3.3).
export function codecOf(unit) {
  for (let at = 0; at + 6 < unit.length; at += 1) {
    if (unit[at] || unit[at + 1] || unit[at + 2] !== 1 || (unit[at + 3] & 31) !== NAL_SPS) continue;
    return `avc1.${[...unit.subarray(at + 4, at + 7)].map((one) => one.toString(16).padStart(2, "0")).join("")}`;
  }
  return "";
}

export class Video {
  // `onFrame` is called with the frame and stamp of each access unit, `onError` once, when no more can be decoded.
  constructor(onFrame, onError) {
    [this.onFrame, this.onError] = [onFrame, onError];
    this.decoder = null;
    this.codec = "";
    this.count = 0;
    this.stamps = new Map(); // Number of an access unit that is being decoded -> its stamp.
  }

  add(unit, stamp, isKey) {
    try {
      if (isKey) this.start(codecOf(unit));
      if (this.decoder === null) return; // No decoder starts without a key frame.
      this.count += 1;
      this.stamps.set(this.count, stamp);
      this.decoder.decode(new EncodedVideoChunk({ type: isKey ? "key" : "delta", timestamp: this.count, data: unit }));
    } catch (error) {
      this.fail(error);
    }
  }

  start(codec) {
    if (this.decoder !== null && codec === this.codec) return;
    this.close();
    this.codec = codec;
    this.decoder = new VideoDecoder({
      output: (frame) => {
        const stamp = this.stamps.get(frame.timestamp);
        this.stamps.delete(frame.timestamp);
        this.onFrame(frame, stamp);
      },
      error: (error) => this.fail(error),
    });
    this.decoder.configure({ codec, optimizeForLatency: true });
  }

  fail(error) {
    this.close();
    this.onError(error);
  }

  close() {
    if (this.decoder !== null && this.decoder.state !== "closed") this.decoder.close();
    this.decoder = null;
    this.stamps.clear();
  }
}
