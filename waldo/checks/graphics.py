"""Whether MuJoCo can render without a display: renders a small image with each GL back end."""

from __future__ import annotations

import os
from collections.abc import Mapping

from waldo.checks.finding import Finding, Probe, absent, fail, ok, run_probe, slow, warn
from waldo.checks.software import installed

BACKENDS = ("egl", "osmesa")
"""Values of MUJOCO_GL, in the order in which waldo tries them."""

FIX = "apt-get install libegl1 libgl1-mesa-dri  (or libosmesa6)"
"""The Debian packages of the back ends."""

DRAW = """
import mujoco
from OpenGL import GL
model = mujoco.MjModel.from_xml_string(
    "<mujoco><worldbody><light pos='0 0 3'/><geom type='sphere' size='.3' rgba='1 0 0 1'/></worldbody></mujoco>"
)
data = mujoco.MjData(model)
mujoco.mj_forward(model, data)
with mujoco.Renderer(model, 64, 64) as renderer:
    renderer.update_scene(data)
    image = renderer.render()
    assert image.max() > 0, "the image is black"
    print(GL.glGetString(GL.GL_RENDERER).decode())
"""


def judge_graphics(probes: Mapping[str, Probe], chosen: str) -> Finding:
    """Judge the back ends that were tried, in order; `chosen` is the user's MUJOCO_GL, empty if unset."""
    timed_out = [probe.trouble for probe in probes.values() if probe.returncode is None]
    working = [backend for backend, probe in probes.items() if probe.returncode == 0]
    if timed_out and not working:
        return slow("graphics", timed_out[0])
    if chosen and chosen not in working:
        trouble = probes[chosen].trouble if chosen in probes else "not tried"
        return fail(
            "graphics",
            f"MUJOCO_GL={chosen} cannot render ({trouble})",
            f"unset MUJOCO_GL: {working[0]} works" if working else FIX,
        )
    if not working:
        reasons = "; ".join(f"{backend}: {probe.trouble or 'crashed'}" for backend, probe in probes.items())
        return fail("graphics", f"cannot render without a display ({reasons})", FIX)
    name = chosen or working[0]
    renderer = probes[name].output.splitlines()[-1] if probes[name].output else "unknown renderer"
    return ok("graphics", f"{name} renders with {renderer}")


def judge_software_rendering(finding: Finding, gpu: bool) -> Finding:
    """Turn software rendering into a warning if the machine has a GPU."""
    by_cpu = any(word in finding.found.lower() for word in ("llvmpipe", "softpipe", "swrast"))
    if finding.state == "OK" and by_cpu and gpu:
        return warn(
            "graphics",
            f"{finding.found}, although the machine has a GPU",
            "install its GL libraries: apt-get install libnvidia-gl-<driver version>",
        )
    return finding


def check_graphics() -> list[Finding]:
    """Render an image with each back end until one works."""
    if not installed("mujoco"):
        return [absent("graphics", "MuJoCo is not installed; install the extra `sim`")]
    chosen = os.environ.get("MUJOCO_GL", "")
    if chosen in ("disable", "off", "0", "false"):
        return [absent("graphics", f"disabled by MUJOCO_GL={chosen}")]
    probes: dict[str, Probe] = {}
    order = [chosen, *(backend for backend in BACKENDS if backend != chosen)] if chosen else list(BACKENDS)
    for backend in order:
        environment = {"MUJOCO_GL": backend, "PYOPENGL_PLATFORM": backend if backend in BACKENDS else ""}
        probes[backend] = run_probe(DRAW, timeout_s=6, environment=environment)
        if probes[backend].returncode == 0:
            break
    return [judge_software_rendering(judge_graphics(probes, chosen), os.path.exists("/dev/nvidiactl"))]
