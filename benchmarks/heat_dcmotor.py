"""Accuracy of the simulated motor heat, compared with differential equations and with MuJoCo's `dcmotor`.

Usage: uv run python benchmarks/heat_dcmotor.py

1. Constant current: the simulation's step against the differential equations, integrated by SciPy to 1e-9.
2. Constant voltage, blocked shaft: `dcmotor` against the simulation's step at the same voltage. The single node of
   `dcmotor` corresponds to two nodes with a housing at ambient temperature.
3. Current limit: `dcmotor` limits the force but not the heat; the true solution is that of the limited current.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.integrate import solve_ivp
from workload import print_table

from waldo.robots.motor import ThermalConstants
from waldo.robots.motors.library import MOTORS
from waldo.robots.thermal.two_node import COPPER_ALPHA_PER_K, TwoNodeModel
from waldo.sim.engine import mujoco
from waldo.sim.world import CONTROL_HZ
from waldo.typing import Array

RTH_K_PER_W, C_J_PER_K, R_OHM, K = 4.0, 8.0, 2.0, 0.5
"""Thermal resistance, heat capacity, electrical resistance at 25 °C [Ω], and motor constant [N·m/A] of the motor."""

MODEL = """
<mujoco>
  <option timestep="0.002"/>
  <worldbody>
    <body>
      <joint name="shaft" type="hinge" damping="0" frictionloss="0" armature="1e7"/>
      <geom type="capsule" size=".01 .05" mass=".1"/>
    </body>
  </worldbody>
  <actuator>
    <dcmotor name="motor" joint="shaft" motorconst="{k}" resistance="{r}" input="voltage" {limit}
             thermal="{rth} {c} 0 {alpha} 25 25"/>
  </actuator>
</mujoco>
"""


@dataclass(frozen=True)
class Dcmotor:
    """Result of MuJoCo's motor."""

    rise_k: float
    """Temperature rise [K]."""
    current_a: float
    """Current that corresponds to the force at the end [A]."""


def dcmotor(volts: float, seconds: float, limit_a: float | None) -> Dcmotor:
    """Simulate MuJoCo's motor with a blocked shaft."""
    limit = "" if limit_a is None else f'saturation="{K * limit_a} 0 0"'
    text = MODEL.format(k=K, r=R_OHM, rth=RTH_K_PER_W, c=C_J_PER_K, alpha=COPPER_ALPHA_PER_K, limit=limit)
    model = mujoco.MjModel.from_xml_string(text)
    data = mujoco.MjData(model)
    data.ctrl[0] = volts
    for _ in range(round(seconds / model.opt.timestep)):
        mujoco.mj_step(model, data)
    return Dcmotor(float(data.act[model.actuator_actadr[0]]), float(data.actuator_force[0]) / K)


def one_node() -> TwoNodeModel:
    """Return a model that is equivalent to the single node of `dcmotor`: the housing stays at ambient temperature."""
    return TwoNodeModel(
        [
            ThermalConstants(
                winding_j_per_k=C_J_PER_K,
                housing_j_per_k=1e9,
                winding_to_housing_k_per_w=RTH_K_PER_W,
                housing_to_ambient_k_per_w=1e-6,
                basis="assumed",
                source="a benchmark",
            )
        ]
    )


def simulated_rise(volts: float, seconds: float, limit_a: float | None) -> float:
    """Return the temperature rise of the simulation's step, with the loss i² R(T) [K]."""
    model = one_node()
    step, state = model.stepper(1 / CONTROL_HZ), model.at_ambient(25.0)
    for _ in range(round(seconds * CONTROL_HZ)):
        resistance = R_OHM * (1 + COPPER_ALPHA_PER_K * (state[:, 0] - 25))
        current = np.minimum(volts / resistance, np.inf if limit_a is None else limit_a)
        state = step(state, np.square(current) * resistance, 25.0)
    return float(state[0, 0] - 25)


def true_rise(volts: float, seconds: float, limit_a: float | None) -> float:
    """Return the temperature rise of the differential equation [K]."""

    def slope(_: float, rise: Array) -> Array:
        resistance = R_OHM * (1 + COPPER_ALPHA_PER_K * rise)
        current = np.minimum(volts / resistance, np.inf if limit_a is None else limit_a)
        return (np.square(current) * resistance - rise / RTH_K_PER_W) / C_J_PER_K

    return float(solve_ivp(slope, (0, seconds), [0.0], rtol=1e-9, atol=1e-9).y[0, -1])


def against_analysis(seconds: float) -> tuple[float, str]:
    """Return the largest error of the step over all motors of the library [K], and the name of that motor."""
    worst = (0.0, "")
    for name, motor in MOTORS.items():
        if motor.thermal is None:
            continue
        c = motor.thermal
        # A load with a steady rise of about 60 K, near the limit of many motors.
        watts = 60.0 / c.total_k_per_w

        def slope(_: float, x: Array, c: ThermalConstants = c, watts: float = watts) -> Array:
            flow = (x[0] - x[1]) / c.winding_to_housing_k_per_w
            heat = watts * (1 + COPPER_ALPHA_PER_K * (x[0] - 25))
            out = (x[1] - 25) / c.housing_to_ambient_k_per_w
            return np.array([(heat - flow) / c.winding_j_per_k, (flow - out) / c.housing_j_per_k])

        truth = solve_ivp(slope, (0, seconds), [25.0, 25.0], method="LSODA", rtol=1e-9, atol=1e-9).y[:, -1]
        model = TwoNodeModel([c])
        step, state = model.stepper(1 / CONTROL_HZ), model.at_ambient(25.0)
        for _ in range(round(seconds * CONTROL_HZ)):
            state = step(state, watts * (1 + COPPER_ALPHA_PER_K * (state[:, 0] - 25)), 25.0)
        worst = max(worst, (float(np.abs(state[0] - truth).max()), name))
    return worst


def main() -> None:
    """Run the three comparisons and print the table."""
    seconds, volts, limit = 1200.0, 6.0, 1.0
    error, motor = against_analysis(seconds)
    free, limited = dcmotor(volts, seconds, None), dcmotor(volts, seconds, limit)
    rows = [
        [f"constant load, every motor of the library (largest error: {motor})", "", "", "", f"{error:.4f}"],
        _row("constant voltage, blocked", free, volts, seconds, None),
        _row(f"constant voltage, blocked, limited to {limit:g} A", limited, volts, seconds, limit),
    ]
    columns = ["case", "true rise K", "dcmotor K", "waldo K", "waldo error K"]
    notes = [
        f"{seconds:g} s. Current of dcmotor at the end: {free.current_a:.3f} A, limited: {limited.current_a:.3f} A."
    ]
    print_table("Simulated motor heat", columns, rows, notes)


def _row(case: str, found: Dcmotor, volts: float, seconds: float, limit_a: float | None) -> list[str]:
    truth, ours = true_rise(volts, seconds, limit_a), simulated_rise(volts, seconds, limit_a)
    return [case, f"{truth:.2f}", f"{found.rise_k:.2f}", f"{ours:.2f}", f"{abs(ours - truth):.4f}"]


if __name__ == "__main__":
    main()
