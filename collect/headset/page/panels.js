// Panels in front of the operator: the robot's condition, notices, and the cameras with the age of their images.

const DISTANCE_M = 1.8;
const WIDTH_M = 2.2; // Of all cameras together.
const GAP_M = 0.05;
const TEXT_M = { width: 1.5, height: 0.42 };
const LABEL_M = { width: 0.6, height: 0.075 };
const STALE_S = 0.5; // Age from which an image is tinted.
const COLORS = ["#1b5e20", "#7a4f00", "#8c1d18"]; // Of the levels ok, warning and error.
const TINTS = { fresh: [1, 1, 1], stale: [1, 0.45, 0.4] };

const VERTEX = `#version 300 es
uniform mat4 transform;
uniform vec2 size;
out vec2 at;
void main() {
  vec2 corner = vec2(gl_VertexID & 1, gl_VertexID >> 1);
  at = vec2(corner.x, 1.0 - corner.y);
  gl_Position = transform * vec4((corner - 0.5) * size, 0.0, 1.0);
}`;
const FRAGMENT = `#version 300 es
precision mediump float;
uniform sampler2D content;
uniform vec3 tint;
in vec2 at;
out vec4 color;
void main() {
  vec4 found = texture(content, at);
  color = vec4(found.rgb * tint, found.a);
}`;

export class Panels {
  constructor(gl) {
    this.gl = gl;
    this.program = link(gl);
    this.uniforms = Object.fromEntries(
      ["transform", "size", "tint"].map((name) => [name, gl.getUniformLocation(this.program, name)]));
    this.textures = new Map(); // Name -> texture, and the version of its content.
    this.anchor = null;
    this.text = document.createElement("canvas");
    [this.text.width, this.text.height] = [1500, 420];
  }

  // Place the panels in front of a head, upright.
  place({ position: p, matrix: m }) {
    const [x, z] = [-m[8], -m[10]];
    const length = Math.hypot(x, z) || 1;
    this.anchor = { x: p.x, y: p.y, z: p.z, forward: [x / length, z / length] };
  }

  draw(views, layer, { state, cameras, transparent }) {
    const { gl } = this;
    gl.bindFramebuffer(gl.FRAMEBUFFER, layer.framebuffer);
    gl.clearColor(...(transparent ? [0, 0, 0, 0] : [0.05, 0.07, 0.09, 1]));
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    gl.useProgram(this.program);
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.SRC_ALPHA, gl.ONE_MINUS_SRC_ALPHA);
    const panels = this.arrange(state, cameras);
    for (const view of views) {
      const { x, y, width, height } = layer.getViewport(view);
      gl.viewport(x, y, width, height);
      const clip = multiply(view.projectionMatrix, view.transform.inverse.matrix);
      for (const panel of panels) this.drawPanel(clip, panel);
    }
  }

  // The panels, from the operator's left to right.
  arrange(state, cameras) {
    const images = cameras.sorted();
    const width = Math.min(1.5, (WIDTH_M - GAP_M * (images.length - 1)) / Math.max(images.length, 1));
    const heights = images.map(({ bitmap }) => (width * bitmap.height) / bitmap.width);
    const top = Math.max(0.3, ...heights) / 2;
    const panels = [{ name: "text", across: 0, up: top + 0.08 + TEXT_M.height / 2, size: TEXT_M, tint: TINTS.fresh }];
    this.update("text", textKey(state), () => drawText(this.text, state));
    images.forEach((image, index) => {
      const across = (index - (images.length - 1) / 2) * (width + GAP_M);
      const age = state.ages_s[image.camera] ?? null;
      const stale = age === null || age > STALE_S;
      this.update(image.camera, image.number, () => image.bitmap);
      cameras.draw(image);
      panels.push({
        name: image.camera, across, up: 0, size: { width, height: heights[index] }, tint: stale ? TINTS.stale : TINTS.fresh,
      });
      const label = `${image.camera}  ${age === null ? "no image" : `${age.toFixed(2)} s`}`;
      this.update(`label ${image.camera}`, label, () => drawLabel(label, stale));
      panels.push({
        name: `label ${image.camera}`, across, up: -heights[index] / 2 - 0.06, size: LABEL_M, tint: TINTS.fresh,
      });
    });
    return panels;
  }

  update(name, version, content) {
    const { gl } = this;
    let entry = this.textures.get(name);
    if (!entry) {
      entry = { texture: gl.createTexture(), version: null };
      this.textures.set(name, entry);
      gl.bindTexture(gl.TEXTURE_2D, entry.texture);
      for (const [parameter, value] of [
        [gl.TEXTURE_WRAP_S, gl.CLAMP_TO_EDGE], [gl.TEXTURE_WRAP_T, gl.CLAMP_TO_EDGE],
        [gl.TEXTURE_MIN_FILTER, gl.LINEAR], [gl.TEXTURE_MAG_FILTER, gl.LINEAR],
      ]) gl.texParameteri(gl.TEXTURE_2D, parameter, value);
    }
    if (entry.version === version) return;
    entry.version = version;
    gl.bindTexture(gl.TEXTURE_2D, entry.texture);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, gl.RGBA, gl.UNSIGNED_BYTE, content());
  }

  drawPanel(clip, { name, across, up, size, tint }) {
    const { gl, anchor } = this;
    const [fx, fz] = anchor.forward;
    // Axes of the panel: right, up, and toward the operator.
    const place = [
      -fz, 0, fx, 0,
      0, 1, 0, 0,
      -fx, 0, -fz, 0,
      anchor.x + fx * DISTANCE_M - fz * across, anchor.y + up, anchor.z + fz * DISTANCE_M + fx * across, 1,
    ];
    gl.bindTexture(gl.TEXTURE_2D, this.textures.get(name).texture);
    gl.uniformMatrix4fv(this.uniforms.transform, false, multiply(clip, place));
    gl.uniform2f(this.uniforms.size, size.width, size.height);
    gl.uniform3fv(this.uniforms.tint, tint);
    gl.drawArrays(gl.TRIANGLE_STRIP, 0, 4);
  }
}

// Column-major 4 x 4 matrices, as WebGL and WebXR have them.
export function multiply(a, b) {
  const product = new Float32Array(16);
  for (let column = 0; column < 4; column += 1) {
    for (let row = 0; row < 4; row += 1) {
      let sum = 0;
      for (let k = 0; k < 4; k += 1) sum += a[4 * k + row] * b[4 * column + k];
      product[4 * column + row] = sum;
    }
  }
  return product;
}

const textKey = ({ word, level, reason, role, notices }) =>
  JSON.stringify([word, level, reason, role, notices.map(({ number }) => number)]);

function drawText(canvas, { word, level, reason, role, notices }) {
  const context = canvas.getContext("2d");
  context.fillStyle = "#1a222b";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.fillStyle = COLORS[level] ?? COLORS[2];
  context.fillRect(0, 0, canvas.width, 190);
  context.fillStyle = "#ffffff";
  context.font = "bold 115px system-ui, sans-serif";
  context.fillText(word, 40, 110);
  context.font = "44px system-ui, sans-serif";
  context.fillText(role === "operator" ? reason : `you watch. ${reason}`, 40, 172, canvas.width - 80);
  notices.slice(-4).forEach(({ text, level: of }, index) => {
    context.fillStyle = ["#eef2f6", "#ffd180", "#ffb4ab"][of] ?? "#ffb4ab";
    context.fillText(text, 40, 240 + 53 * index, canvas.width - 80);
  });
  return canvas;
}

function drawLabel(text, stale) {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [600, 75];
  const context = canvas.getContext("2d");
  context.fillStyle = stale ? COLORS[2] : "#1a222b";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.fillStyle = "#ffffff";
  context.font = "44px system-ui, sans-serif";
  context.textAlign = "center";
  context.fillText(text, canvas.width / 2, 52, canvas.width - 20);
  return canvas;
}

function link(gl) {
  const program = gl.createProgram();
  for (const [kind, source] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
    const shader = gl.createShader(kind);
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    gl.attachShader(program, shader);
  }
  gl.linkProgram(program);
  if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(program));
  return program;
}
