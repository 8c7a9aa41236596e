// The poses of a frame, and their message; pose_message.py of the server describes the format.

const VERSION = 1;
const HEAD_BYTES = 44;
const HAND_BYTES = 40;
const SIDES = { left: 0, right: 1 };
const BUTTONS = 8;

export const JOINTS = [
  "wrist",
  ...["metacarpal", "phalanx-proximal", "phalanx-distal", "tip"].map((part) => `thumb-${part}`),
  ...["index", "middle", "ring", "pinky"].flatMap((finger) =>
    ["metacarpal", "phalanx-proximal", "phalanx-intermediate", "phalanx-distal", "tip"]
      .map((part) => `${finger}-finger-${part}`)),
];

// The hands that a headset reports, one of each side; a controller is preferred to a hand that holds nothing.
export function trackedHands(frame, space, sources) {
  const hands = new Map();
  for (const source of sources) {
    if (!(source.handedness in SIDES)) continue;
    const hand = source.hand ? bareHand(frame, space, source) : controller(frame, space, source);
    if (hand && !(hands.has(hand.side) && hand.joints)) hands.set(hand.side, hand);
  }
  return [...hands.values()];
}

function controller(frame, space, source) {
  const pose = source.gripSpace && frame.getPose(source.gripSpace, space);
  if (!pose) return null;
  const values = source.gamepad?.buttons ?? [];
  let buttons = 0;
  values.forEach((button, index) => {
    if (button?.pressed && index < BUTTONS) buttons |= 1 << index;
  });
  return {
    side: source.handedness,
    transform: pose.transform,
    tracked: !pose.emulatedPosition,
    trigger: unit(values[0]?.value),
    squeeze: unit(values[1]?.value),
    buttons,
    joints: null,
  };
}

function bareHand(frame, space, source) {
  const poses = JOINTS.map((name) => {
    const joint = source.hand.get(name);
    return joint ? frame.getJointPose(joint, space) : null;
  });
  if (poses.some((pose) => !pose)) return null;
  return {
    side: source.handedness,
    transform: poses[0].transform,
    tracked: !poses[0].emulatedPosition,
    trigger: 0,
    squeeze: 0,
    buttons: 0,
    joints: poses.map((pose) => pose.transform.position),
  };
}

// A phone is a hand: a finger on its screen is the dead-man switch, a second one the trigger.
export function phoneHand(viewer, sources, side) {
  const touches = [...sources].filter((source) => source.targetRayMode === "screen").length;
  return {
    side,
    transform: viewer.transform,
    tracked: !viewer.emulatedPosition,
    trigger: touches > 1 ? 1 : 0,
    squeeze: touches > 0 ? 1 : 0,
    buttons: 0,
    joints: null,
  };
}

const unit = (value) => Math.min(Math.max(value ?? 0, 0), 1);

export function encodePose({ number, pageMs, visible, seesRobot, head, hands }) {
  const size = HEAD_BYTES + hands.reduce((sum, { joints }) => sum + HAND_BYTES + (joints ? 12 * JOINTS.length : 0), 0);
  const view = new DataView(new ArrayBuffer(size));
  view.setUint8(0, VERSION);
  view.setUint8(1, (visible ? 1 : 0) | (seesRobot ? 2 : 0));
  view.setUint16(2, hands.length, true);
  view.setUint32(4, number, true);
  view.setFloat64(8, pageMs, true);
  writeTransform(view, 16, head);
  let at = HEAD_BYTES;
  for (const hand of hands) {
    view.setUint8(at, SIDES[hand.side]);
    view.setUint8(at + 1, (hand.tracked ? 1 : 0) | (hand.joints ? 2 : 0));
    view.setUint16(at + 2, hand.buttons, true);
    view.setFloat32(at + 4, hand.trigger, true);
    view.setFloat32(at + 8, hand.squeeze, true);
    writeTransform(view, at + 12, hand.transform);
    at += HAND_BYTES;
    for (const point of hand.joints ?? []) {
      for (const value of [point.x, point.y, point.z]) {
        view.setFloat32(at, value, true);
        at += 4;
      }
    }
  }
  return view.buffer;
}

function writeTransform(view, at, { position: p, orientation: q }) {
  [p.x, p.y, p.z, q.x, q.y, q.z, q.w].forEach((value, index) => view.setFloat32(at + 4 * index, value, true));
}
