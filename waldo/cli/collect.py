"""`waldo teleop` steers a robot; `waldo record` records it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from waldo import console, registry
from waldo.collect.devices.device import Device
from waldo.datasets.streams import CRF
from waldo.errors import InvalidValueError, UnknownNameError
from waldo.robots.drivers.options import convert_options, options_class, parse_options, split_options

if TYPE_CHECKING:
    from waldo.collect.recorder.uploader import Uploader
    from waldo.datasets.dataset import Dataset

UPLOAD_S = 600.0
"""How long the end of a recording waits for the last uploads [s]; Ctrl-C ends it sooner, nothing is lost."""

DEVICES = ("keyboard", "gamepad", "leader", "script", "lerobot")
"""Teleoperation devices by name."""


@dataclass(frozen=True, kw_only=True)
class Teleop:
    """Drive a robot on the ROS graph: with the keyboard, a gamepad, a leader arm or a scripted operator."""

    device: tyro.conf.Positional[str] = "keyboard"
    """What you steer with: keyboard, gamepad, leader (an arm), script, or lerobot, any of LeRobot's teleoperators."""
    port: str = ""
    """Serial port of a leader arm: /dev/ttyACM1."""
    option: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """An option of leader or lerobot as name=value: --option driver=dynamixel, --option type=so101_leader."""
    rate: int = 60
    """Commands a second; in simulated time the simulation's."""
    robot: str = "so101"
    """Name of the robot."""
    namespace: str = ""
    """ROS namespace of the robot; its name unless given."""
    task: str = "lift"
    """Task that the scripted operator works on."""
    episodes: int = 10
    """How many episodes the scripted operator records."""
    first: int = 0
    """Number of the scripted operator's first episode; it varies its hand."""
    human: float = 1.0
    """How human the scripted operator is: noise, pauses and recoveries; 0 is a machine."""
    lockstep: int = 0
    """Simulated time: how many nodes must hear each command before the clock goes on (robot and recorder: 2)."""

    def run(self) -> int:
        """Steer until the device is finished, SIGINT or SIGTERM."""
        from waldo.collect.teleop import Teleop as Node
        from waldo.process import until_signaled
        from waldo.robots.description import load_robot
        from waldo.ros import join_graph

        done = until_signaled()
        robot = load_robot(self.robot)
        device = self._device()
        with join_graph("teleop", self.namespace or robot.name) as graph:
            Node(graph, device, robot.joint_names, lockstep=self.lockstep, rate_hz=self.rate).run(done)
        return 0 if device.finished else 130

    def _device(self) -> Device:
        """Return the device that is asked for."""
        from waldo.robots.description import load_robot

        if self.episodes < 1:
            raise InvalidValueError("episodes", self.episodes, "1 or more")
        if not 20 <= self.rate <= 1000:
            raise InvalidValueError("rate", self.rate, "20 to 1000 commands a second")
        if self.device == "keyboard":
            from waldo.collect.devices.keyboard import HELP, Keyboard

            console.err().print(HELP)
            return Keyboard(load_robot(self.robot))
        if self.device == "gamepad":
            from waldo.collect.devices.gamepad import Gamepad

            return Gamepad(load_robot(self.robot))
        if self.device == "leader":
            from waldo.collect.devices.leader import EngageOptions, LeaderArm
            from waldo.collect.devices.terminal_keys import HELP as KEYS
            from waldo.robots.description import presets

            console.err().print(f"lead the arm close to the robot's pose, and it follows   {KEYS}")
            arm = f"{self.robot}_leader"
            texts = split_options(self.option)
            driver = texts.pop("driver", "feetech")
            options = convert_options(texts, EngageOptions, options_class(driver)) | self._port()
            return LeaderArm(
                load_robot(self.robot), load_robot(arm if arm in presets() else self.robot), driver, **options
            )
        if self.device == "lerobot":
            from waldo.collect.devices.lerobot_teleop import LeRobotTeleop, TeleopOptions

            return LeRobotTeleop(load_robot(self.robot), **(parse_options(self.option, TeleopOptions) | self._port()))
        if self.device == "script":
            from waldo.collect.devices.scripted import Expert, Scripted

            make: Callable[..., Expert] = registry.load("waldo.experts", "scripted", "expert")
            return Scripted(lambda n: make(self.task, seed=n, human=self.human), self.episodes, self.first)
        raise UnknownNameError("device", self.device, DEVICES)

    def _port(self) -> dict[str, Any]:
        return {"port": self.port} if self.port else {}


@dataclass(frozen=True, kw_only=True)
class Record:
    """Record a robot into a dataset: every stream at its own rate. Start and save from the teleoperation device."""

    dataset: tyro.conf.Positional[Path]
    """Folder of the dataset; made if it does not exist."""
    robot: str = "so101"
    """Name of the robot."""
    namespace: str = ""
    """ROS namespace of the robot; its name unless given."""
    operator: str = ""
    """Who steers; kept in each episode."""
    camera: tuple[str, ...] = ()
    """Cameras outside the robot's namespace: NAME=/TOPIC, front=/camera/color/image_raw; depth/front=... for depth."""
    video: Literal["h264", "lossless", "jpeg"] = "h264"
    """How cameras are kept: h264 (small), lossless (exact RGB, many times as large), jpeg (as the camera sent it)."""
    crf: int = CRF
    """Quality of h264, 0 to 51: lower is better and larger."""
    encoder: str = "auto"
    """What encodes h264: auto (a graphics card where there is one), libx264, h264_nvenc or h264_vaapi."""
    upload: str = ""
    """Object store to push each saved episode to, such as s3://bucket/dataset; it is kept here as well."""
    lockstep: bool = False
    """Simulated time: the robot waits until everything has been received."""

    def run(self) -> int:
        """Record until SIGINT or SIGTERM."""
        from waldo import __version__
        from waldo.collect.recorder.node import RecorderNode
        from waldo.collect.recorder.recorder import Recorder, RecorderConfig
        from waldo.collect.recorder.topics import parse_cameras
        from waldo.datasets.dataset import Dataset
        from waldo.process import until_signaled
        from waldo.robots.description import load_robot
        from waldo.ros import join_graph

        done = until_signaled()
        robot = load_robot(self.robot)
        attributes = {"robot": robot.name, "operator": self.operator, "software": f"waldo {__version__}"}
        config = RecorderConfig(codec=self.video, crf=self.crf, encoder=self.encoder, lockstep=self.lockstep)
        cameras = parse_cameras(self.camera)
        exists = (self.dataset / "dataset.json").exists()
        dataset = Dataset.open(self.dataset) if exists else Dataset.create(self.dataset, robot=robot.name)
        with dataset.lock():
            for recovered in dataset.recover():
                _tell(f"cut off, closed now: {recovered}")
            uploader = _uploader(dataset, self.upload)
            with join_graph("recorder", self.namespace or robot.name) as graph:
                RecorderNode(graph, Recorder(dataset, robot, attributes, config), cameras).run(done)
            if uploader is not None:
                dataset.wait()
                uploader.close(UPLOAD_S)
        return 0


def _tell(text: str) -> None:
    console.err().print(f"recorder: {text}", markup=False)


def _uploader(dataset: Dataset, address: str) -> Uploader | None:
    """Return what uploads each saved episode; None where nothing is to be uploaded."""
    from waldo.datasets.store_path import ObjectPath, open_path

    if not address:
        return None
    target = open_path(address)
    if not isinstance(target, ObjectPath):
        raise InvalidValueError("--upload", address, "an object store's address, such as s3://bucket/dataset")
    from waldo.collect.recorder.uploader import Uploader

    return Uploader(dataset, target, _tell)
