// An immersive session: sends the poses of each frame, and draws the panels.

import { Panels } from "./panels.js";
import { encodePose, phoneHand, trackedHands } from "./poses.js";

const FEATURES = { requiredFeatures: ["local-floor"], optionalFeatures: ["hand-tracking"] };

export const MODES = {
  vr: { kind: "immersive-vr", seesRobot: false, phone: null },
  ar: { kind: "immersive-ar", seesRobot: true, phone: null },
  "phone-right": { kind: "immersive-ar", seesRobot: true, phone: "right" },
  "phone-left": { kind: "immersive-ar", seesRobot: true, phone: "left" },
};

export async function startSession(mode, { link, cameras, getState, overlay, onEnd }) {
  const options = mode.phone
    ? { requiredFeatures: ["local"], optionalFeatures: ["dom-overlay"], domOverlay: { root: overlay } }
    : FEATURES;
  const session = await navigator.xr.requestSession(mode.kind, options);
  const space = await session.requestReferenceSpace(mode.phone ? "local" : "local-floor");
  const gl = document.createElement("canvas").getContext("webgl2", { xrCompatible: true, antialias: true });
  const layer = new XRWebGLLayer(session, gl);
  session.updateRenderState({ baseLayer: layer });
  const panels = new Panels(gl);

  // After a change of the space's origin every pose jumps: the robot must not follow that.
  space.addEventListener("reset", () => {
    panels.anchor = null;
    link.send({ kind: "blur" });
  });
  session.addEventListener("visibilitychange", () => {
    if (session.visibilityState !== "visible") link.send({ kind: "blur" });
  });
  session.addEventListener("end", () => {
    link.send({ kind: "end" });
    onEnd();
  });

  function onFrame(_, frame) {
    session.requestAnimationFrame(onFrame);
    const pageMs = performance.now();
    cameras.acknowledge();
    const viewer = frame.getViewerPose(space);
    if (!viewer) return;
    const sources = session.inputSources;
    const hands = mode.phone ? [phoneHand(viewer, sources, mode.phone)] : trackedHands(frame, space, sources);
    const visible = session.visibilityState === "visible" && !document.hidden;
    const content = { pageMs, visible, seesRobot: mode.seesRobot, head: viewer.transform, hands };
    link.sendPose((number) => encodePose({ number, ...content }));
    if (!panels.anchor) panels.place(viewer.transform);
    if (!mode.phone) panels.draw(viewer.views, layer, { state: getState(), cameras, transparent: mode.seesRobot });
  }

  link.send({ kind: "claim" });
  session.requestAnimationFrame(onFrame);
  return session;
}

export function pulse(session, { side, amplitude, duration_ms: durationMs }) {
  for (const source of session?.inputSources ?? []) {
    if (source.handedness !== side) continue;
    const actuator = source.gamepad?.hapticActuators?.[0] ?? source.gamepad?.vibrationActuator;
    actuator?.pulse?.(amplitude, durationMs);
  }
}
