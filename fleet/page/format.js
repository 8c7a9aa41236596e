// Values as text. null is unknown, "inf" is infinite.

export const UNKNOWN = "–";

export function fixed(value, digits, unit = "") {
  if (typeof value !== "number") return UNKNOWN;
  return value.toFixed(digits) + unit;
}

export function percent(value) {
  return typeof value === "number" ? Math.round(value * 100) + " %" : UNKNOWN;
}

// A forecast is shown more coarsely the farther ahead it is.
export function duration(seconds) {
  if (seconds === "inf") return "∞";
  if (typeof seconds !== "number") return UNKNOWN;
  if (seconds <= 0) return "now";
  if (seconds < 120) return Math.round(seconds) + " s";
  if (seconds < 600) {
    const tens = Math.round(seconds / 10);
    return Math.floor(tens / 6) + " min" + (tens % 6 ? " " + (tens % 6) * 10 + " s" : "");
  }
  const minutes = Math.round(seconds / 60);
  if (minutes < 60) return minutes + " min";
  if (minutes < 24 * 60) return Math.floor(minutes / 60) + " h" + (minutes % 60 ? " " + (minutes % 60) + " min" : "");
  return "> 1 day";
}

export function durationWords(seconds) {
  if (seconds === "inf") return "never at this load";
  return typeof seconds === "number" ? duration(seconds) : "unknown";
}

export function age(seconds) {
  return seconds < 120 ? Math.round(seconds) + " s" : duration(seconds);
}

const DIGITS = { "°C": 1, "K": 1, "A": 2, "V": 1, "N·m": 2 };

// Format a value of any quantity by its unit, as listed by the server.
export function quantity(value, { key, unit }) {
  if (unit === "s") return value === 0 ? "0 s" : duration(value);
  if (value === "inf") return "∞";
  if (typeof value !== "number") return UNKNOWN;
  if (key.endsWith("_ratio")) return percent(value);
  const text = unit in DIGITS ? value.toFixed(DIGITS[unit]) : String(Number(value.toPrecision(4)));
  return unit === "1" ? text : `${text} ${unit}`;
}

export function jointName(joint) {
  return joint.replace(/_joint$/, "").replaceAll("_", " ");
}
