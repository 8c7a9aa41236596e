"""The Unitree driver with a simulated G1 over DDS, on the loopback interface in its own domain."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from waldo.errors import HardwareError, InvalidValueError, MissingOptionError
from waldo.robots.description import load_robot
from waldo.robots.drivers.dds import join_domain
from waldo.robots.drivers.unitree import idl as idl
from waldo.robots.drivers.unitree.crc import checksum, crc32_words
from waldo.robots.drivers.unitree.driver import UnitreeDriver, empty_command
from waldo.robots.drivers.unitree.motors import G1_MOTORS, GO2_MOTORS, fault_text
from waldo.robots.drivers.unitree.services import MotionSwitcher
from waldo.robots.drivers.unitree.winding import WindingFinder
from waldo.robots.thermal.two_node import TwoNodeModel
from waldo.sim.emulation.unitree import MODE_MACHINE, EmulatedUnitree

DOMAIN = 101 + os.getpid() % 100
G1 = load_robot("g1")


def driver(**options: object) -> UnitreeDriver:
    # A busy machine may pause a process for seconds.
    return UnitreeDriver(
        G1, **{"interface": "lo", "domain": DOMAIN, "connect_timeout_s": 60.0, "max_staleness_s": 30.0, **options}
    )


@pytest.fixture
def twin() -> Iterator[EmulatedUnitree]:
    """A simulated G1 that publishes its state at 100 Hz."""
    with EmulatedUnitree(G1, DOMAIN, rate_hz=100) as made:
        yield made


@pytest.fixture
def connected(twin: EmulatedUnitree) -> Iterator[UnitreeDriver]:
    """A driver that is connected to the simulated G1."""
    made = driver(rate_hz=100)
    made.connect()
    yield made
    made.disconnect()


def until(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_the_driver_holds_its_position_and_follows_commands(twin: EmulatedUnitree, connected: UnitreeDriver) -> None:
    # Without torque, the arms have sagged until the driver was connected.
    time.sleep(0.1)
    np.testing.assert_allclose(connected.read().position, twin.joints.position, atol=0.1)
    target = np.clip(G1.home + 0.2, G1.lower, G1.upper)
    np.testing.assert_allclose(connected.write(target), target, atol=1e-6)
    until(lambda: float(np.abs(connected.read().position - target).max()) < 0.1)
    assert twin.refused == 0
    command = twin.last_command
    assert (command.mode_machine, command.mode_pr) == (MODE_MACHINE, 0)
    # left_shoulder_pitch is motor 15. The left knee is not a joint of this description and holds its position.
    np.testing.assert_allclose(command.motor_cmd[15].q, target[3], atol=1e-6)
    assert (command.motor_cmd[15].kp, command.motor_cmd[12].kp, command.motor_cmd[20].kp) == (80, 300, 40)
    assert (command.motor_cmd[3].mode, command.motor_cmd[3].kp) == (1, 60)
    assert command.motor_cmd[34].mode == 0
    assert connected.write(G1.upper + 1).tolist() == G1.upper.astype(np.float32).tolist()
    with pytest.raises(InvalidValueError, match="expected finite numbers"):
        connected.write(np.full(len(G1.joints), np.nan))


def test_temperatures_and_faults_are_reported(twin: EmulatedUnitree, connected: UnitreeDriver) -> None:
    twin.motorstate[15] = 0x200 | 0x20
    with twin.joints.lock:
        twin.joints.heat[3] = [90.0, 50.0]

    def sensors() -> Any:
        connected.read()
        return connected.motors()

    until(lambda: sensors().faults[3] != "" and sensors().winding_c[3] >= 80)
    now = sensors()
    assert now.faults[3] == "driver over- or under-temperature (MOS), winding over-temperature"
    assert now.faults[4] == ""
    # The winding has not been identified yet: the higher temperature is used, and the other is unknown.
    assert np.isnan(now.housing_c).all()
    np.testing.assert_allclose(now.voltage_v, 58.0)
    connected.options = replace(connected.options, winding_sensor="second")
    np.testing.assert_allclose(connected.motors().housing_c[3], 50, atol=3)
    connected.options = replace(connected.options, winding_sensor="first", other_sensor="driver")
    np.testing.assert_allclose(connected.motors().driver_c[3], sensors().winding_c[3] + 40, atol=12)


@pytest.mark.parametrize("winding_first", [True, False])
def test_the_winding_is_identified_by_its_fluctuation(winding_first: bool) -> None:
    thermal = TwoNodeModel([joint.motor.need_thermal("test") for joint in G1.joints])
    finder, heat = WindingFinder(), thermal.at_ambient(25.0)
    step = thermal.stepper(1.0)
    for second in range(600):
        # Alternating load of 30 s on and 30 s off, as in teleoperation.
        loss = np.full(len(G1.joints), 30.0 if second // 30 % 2 == 0 else 0.0)
        heat = step(heat, loss, 25.0)
        both = np.round(heat if winding_first else heat[:, ::-1])
        finder.add(both, 1.0)
    assert finder.winding == (0 if winding_first else 1)
    still = WindingFinder()
    for _ in range(600):
        still.add(np.round(heat), 1.0)
    assert still.winding is None


def test_reading_a_silent_robot_is_an_error(twin: EmulatedUnitree, connected: UnitreeDriver) -> None:
    connected.read()
    twin.mute = True
    connected.channel.options = replace(connected.options, max_staleness_s=0.05)
    time.sleep(0.3)
    with pytest.raises(HardwareError, match=r"no new state on rt/lowstate for \d+\.\d\d s; check that the robot is on"):
        connected.read()


def test_connecting_without_valid_states_is_an_error(twin: EmulatedUnitree) -> None:
    twin.corrupt = True
    time.sleep(0.1)
    with pytest.raises(
        HardwareError, match=r"\d+ with a wrong checksum; check_crc=false accepts wrong checksums"
    ) as caught:
        driver(connect_timeout_s=1.0).connect()
    assert "no valid state on rt/lowstate in DDS domain" in str(caught.value)
    trusting = driver(check_crc=False, rate_hz=100)
    trusting.connect()
    trusting.read()
    trusting.disconnect()
    with pytest.raises(HardwareError, match=r"within 0\.2 s; check that the robot is on and connected, and its type"):
        driver(connect_timeout_s=0.2, state_topic="rt/empty").connect()


def test_the_simulated_robot_rejects_wrong_checksums_and_machine_modes(twin: EmulatedUnitree) -> None:
    command = empty_command("hg")
    command.mode_machine = MODE_MACHINE
    command.crc = checksum(command) ^ 1
    twin.execute(command)
    command.mode_machine, command.crc = 1, 0
    command.crc = checksum(command)
    twin.execute(command)
    assert (twin.refused, twin.taken) == (2, 0)


def test_on_close_release_disables_the_torque(twin: EmulatedUnitree) -> None:
    made = driver(on_close="release", rate_hz=100)
    made.connect()
    until(lambda: twin.taken > 3 and twin.last_command.motor_cmd[15].mode == 1)
    made.disconnect()
    until(lambda: twin.last_command.motor_cmd[15].mode == 0)


def test_arm_sdk_ramps_its_weight_and_leaves_the_legs_to_the_robot() -> None:
    body = load_robot("g1_dex3").parts[0].robot
    with EmulatedUnitree(body, DOMAIN, rate_hz=100, controller="ai") as twin:
        made = UnitreeDriver(
            body, interface="lo", domain=DOMAIN, connect_timeout_s=60.0, max_staleness_s=30.0, rate_hz=100,
            command_topic="rt/arm_sdk", weight_ramp_s=0.5,
        )  # fmt: skip
        made.connect()
        until(lambda: twin.weight > 0)
        first = twin.weight
        until(lambda: twin.weight == 1.0)
        assert first < 1.0
        target = body.home.copy()
        knee, elbow = body.joint_names.index("left_knee_joint"), body.joint_names.index("left_elbow_joint")
        target[knee], target[elbow] = 1.0, 0.5
        applied = made.write(target)
        assert applied[elbow] == pytest.approx(0.5)
        assert abs(applied[knee]) < 0.2  # where it is: the robot's own controller moves the legs
        until(lambda: abs(made.read().position[elbow] - 0.5) < 0.1)
        assert [motor.mode for motor in twin.last_command.motor_cmd[:12]] == [0] * 12
        assert abs(made.read().position[knee]) < 0.2
        made.disconnect()
        until(lambda: twin.weight == 0.0)
        # The arm returns to where the robot's own controller holds it.
        until(lambda: abs(twin.joints.position[elbow] - body.home[elbow]) < 0.15)
        assert twin.refused == 0


def test_the_weight_never_rises_while_disconnecting() -> None:
    """The connection ends while the weight still rises, as with Ctrl-C."""
    weights = list[float]()

    class Weighed(EmulatedUnitree):
        @property
        def weight(self) -> float:
            return weights[-1] if weights else 0.0

        @weight.setter
        def weight(self, value: float) -> None:
            weights.append(value)

    with Weighed(G1, DOMAIN, rate_hz=100, controller="ai") as twin:
        made = driver(command_topic="rt/arm_sdk", weight_ramp_s=1.0, rate_hz=100)
        made.connect()
        until(lambda: twin.weight > 0.05)
        begun = len(weights)
        made.disconnect()
        until(lambda: twin.weight == 0.0)
    reached = max(weights[: begun + 10])
    assert reached < 0.9
    assert max(weights) <= reached
    assert np.diff(weights[begun + 10 :]).max(initial=0.0) <= 0.0


@pytest.mark.parametrize("options", [{"family": "go"}, {"motor_indices": tuple(range(17))}])
def test_arm_sdk_is_that_of_the_g1(options: dict[str, Any]) -> None:
    robot = replace(G1, joints=tuple(replace(j, name=f"h1_{j.name}") for j in G1.joints))
    with pytest.raises(InvalidValueError, match=r"command_topic is 'rt/arm_sdk', expected rt/lowcmd for g1"):
        UnitreeDriver(robot, **{"motor_indices": tuple(range(17)), "command_topic": "rt/arm_sdk", **options})


def test_commands_that_can_no_longer_be_sent_are_an_error(connected: UnitreeDriver) -> None:
    connected.read()
    with connected.channel.lock:
        connected._command.motor_cmd.clear()
    with pytest.raises(HardwareError, match=r"sending on rt/lowcmd failed \(.*\); connect again"):
        until(lambda: connected.read() is None)
    # The last message of the fixture's disconnect.
    connected._command = empty_command("hg")


def test_a_driver_that_is_not_connected_is_an_error() -> None:
    made = driver()
    for use in (made.read, made.motors, lambda: made.write(G1.home)):
        with pytest.raises(HardwareError, match="call connect"):
            use()


def test_the_pose_that_is_held_is_that_after_the_motion_service_was_released(monkeypatch: pytest.MonkeyPatch) -> None:
    with EmulatedUnitree(G1, DOMAIN, rate_hz=100, controller="ai") as twin:
        release = MotionSwitcher.release
        lower = np.clip(G1.home - 0.4, G1.lower, G1.upper)

        def sinks(switcher: MotionSwitcher) -> None:
            release(switcher)
            twin.joints.falls = False
            twin.joints.place(lower)

        monkeypatch.setattr(MotionSwitcher, "release", sinks)
        made = driver(motion_service="release", rate_hz=100)
        made.connect()
        held = [made._command.motor_cmd[i].q for i in made.indices]
        # Not where it stood before, which is 0.4 rad away; some joints have moved on since.
        assert np.median(np.abs(held - lower)) < 0.05
        made.disconnect()


@pytest.mark.parametrize(
    ("controller", "topic", "message"),
    [
        ("ai", "rt/lowcmd", "the robot's motion service 'ai' is active and commands the same motors"),
        ("", "rt/arm_sdk", "the robot's motion service is not active, but rt/arm_sdk needs it"),
    ],
)
def test_the_motion_service_must_fit_the_topic(controller: str, topic: str, message: str) -> None:
    with EmulatedUnitree(G1, DOMAIN, rate_hz=100, controller=controller):
        with pytest.raises(HardwareError, match=message):
            driver(command_topic=topic).connect()
        trusting = driver(command_topic=topic, motion_service="ignore", weight_ramp_s=0.1)
        trusting.connect()
        trusting.disconnect()


def test_a_motion_service_that_does_not_respond_may_be_active(monkeypatch: pytest.MonkeyPatch) -> None:
    with EmulatedUnitree(G1, DOMAIN, rate_hz=100, controller="ai") as twin:
        monkeypatch.setattr(twin.controller, "serve", lambda: None)
        with pytest.raises(HardwareError, match="no response from the robot's service 'motion_switcher'"):
            driver().connect()
        assert twin.taken == 0


def test_the_motion_service_is_released_on_request() -> None:
    with EmulatedUnitree(G1, DOMAIN, rate_hz=100, controller="ai") as twin:
        made = driver(motion_service="release")
        made.connect()
        assert twin.controller.active == ""
        until(lambda: twin.taken > 3)
        made.disconnect()


def test_a_simulator_without_ticks_checksums_and_services_is_driven() -> None:
    """unitree_mujoco's Python simulator publishes states with tick 0 and checksum 0, and has no services."""

    class Plain(EmulatedUnitree):
        def state(self) -> Any:
            state = super().state()
            state.tick = state.crc = 0
            return state

    with Plain(G1, DOMAIN, rate_hz=100) as twin:
        twin.controller.close()
        made = driver()
        made.connect()
        target = np.clip(G1.home + 0.2, G1.lower, G1.upper)
        made.write(target)
        until(lambda: float(np.abs(made.read().position - target).max()) < 0.1)
        twin.mute = True
        made.channel.options = replace(made.options, max_staleness_s=0.05)
        time.sleep(0.3)
        with pytest.raises(HardwareError, match="no new state on rt/lowstate"):
            made.read()
        made.disconnect()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_states_that_are_not_finite_or_old_are_refused(value: float) -> None:
    made = UnitreeDriver(G1)
    twin = EmulatedUnitree(G1)
    twin._tick = 5000
    first = twin.state()
    assert made._accepts(first)
    made.channel.state = first
    assert not made._accepts(first)
    twin._tick = 4990
    assert not made._accepts(twin.state()), "an overtaken state"
    twin._tick = 3
    assert made._accepts(twin.state()), "the robot was restarted"
    twin._tick = 5001
    state = twin.state()
    state.motor_state[15].q = value
    state.crc = checksum(state)
    assert not made._accepts(state)
    assert made.refused == {"overtaken": 1, "with values that are not finite": 1}
    assert made._refused_text() == " (1 overtaken, 1 with values that are not finite)"
    state.crc += 1
    assert not made._accepts(state)
    assert made._refused_text().endswith("1 with a wrong checksum; check_crc=false accepts wrong checksums)")


def test_two_programs_that_publish_states_are_not_mixed(twin: EmulatedUnitree, connected: UnitreeDriver) -> None:
    with EmulatedUnitree(G1, DOMAIN, rate_hz=100):
        with pytest.raises(HardwareError, match="two programs publish rt/lowstate"):
            until(lambda: bool(connected.read() is None))


def test_another_program_that_sends_commands_is_noticed(twin: EmulatedUnitree, connected: UnitreeDriver) -> None:
    connected.read()
    second = driver(rate_hz=100)
    with pytest.raises(HardwareError, match="another program sends commands on rt/lowcmd"):
        second.connect()
    assert not second.channel.is_open
    # Nothing was sent meanwhile.
    connected.read()


def crc_bit_by_bit(words: list[int]) -> int:
    """Return the checksum with the algorithm of Unitree's SDK."""
    crc = 0xFFFFFFFF
    for word in words:
        for bit in range(31, -1, -1):
            top = crc & 0x80000000
            crc = crc << 1 & 0xFFFFFFFF
            crc ^= 0x04C11DB7 if top else 0
            crc ^= 0x04C11DB7 if word >> bit & 1 else 0
    return crc


def test_the_checksum_agrees_with_unitrees_algorithm() -> None:
    words = [0, 1, 0xDEADBEEF, 0xFFFFFFFF, 12345]
    data = b"".join(word.to_bytes(4, "little") for word in words)
    assert crc32_words(data) == crc_bit_by_bit(words)
    # The layout has the size of the C struct, whose last word is the checksum.
    for family, size in (("hg", 1004), ("go", 812)):
        command = empty_command(family)
        before = checksum(command)
        command.motor_cmd[7].q = 0.25
        assert checksum(command) != before
        from waldo.robots.drivers.unitree.crc import _LAYOUTS

        assert _LAYOUTS[command.__idl_typename__].size == size


def test_type_names_and_indices_are_those_of_the_sdk() -> None:
    assert idl.HgLowCmd.__idl_typename__ == "unitree_hg.msg.dds_.LowCmd_"
    assert idl.GoLowState.__idl_typename__ == "unitree_go.msg.dds_.LowState_"
    assert (G1_MOTORS[12], G1_MOTORS[15], G1_MOTORS[28]) == (
        "waist_yaw_joint", "left_shoulder_pitch_joint", "right_wrist_yaw_joint"
    )  # fmt: skip
    assert GO2_MOTORS[0] == "FR_hip_joint"
    assert len(G1_MOTORS) == 29
    assert fault_text(0) == ""
    go = empty_command("go")
    assert idl.GoLowCmd.deserialize(go.serialize()).head == b"\xfe\xef"


def test_impossible_options_are_rejected() -> None:
    with pytest.raises(InvalidValueError, match="winding_sensor is 'third', expected auto, first or second"):
        UnitreeDriver(G1, winding_sensor="third")
    other = replace(G1, joints=(replace(G1.joints[0], name="neck"),))
    with pytest.raises(MissingOptionError, match=r"requires the option motor_indices .*, including neck"):
        UnitreeDriver(other)
    assert UnitreeDriver(other, motor_indices=(4,)).indices == (4,)
    with pytest.raises(InvalidValueError, match="a different index from 0 to 19 for each joint"):
        UnitreeDriver(other, motor_indices=(20,), family="go")
    join_domain(DOMAIN, "lo")
    with pytest.raises(HardwareError, match="is already joined on interface 'lo', not 'eth9'"):
        join_domain(DOMAIN, "eth9")


def test_go_has_one_temperature() -> None:
    made = UnitreeDriver(replace(G1, joints=G1.joints[:1]), family="go", motor_indices=(2,), other_sensor="driver")
    motor = idl.GoMotorState(1, 0.1, 0.0, 0.0, 2.0, 0.0, 0.0, 0.0, 61, 3, [0, 0])
    made.channel.state = type("S", (), {"motor_state": [motor] * 20, "power_v": 29.0})()
    sensors = made.motors()
    assert (sensors.driver_c[0], sensors.voltage_v[0], sensors.faults) == (61.0, 29.0, ("3 frames lost",))
    assert np.isnan(sensors.winding_c[0])
