import json
import math
import struct

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rosbags.rosbag2 import Reader, StoragePlugin, Writer

from tests.rvl import rvl_image
from waldo.datasets import schema
from waldo.datasets.dataset import Dataset
from waldo.datasets.formats.convert import import_dataset
from waldo.datasets.formats.rosbag2 import messages as types
from waldo.datasets.formats.rosbag2.episode_messages import motors_message
from waldo.datasets.formats.rosbag2.format import BagConfig
from waldo.datasets.formats.rosbag2.importer import rate_of
from waldo.datasets.formats.source import ImportConfig
from waldo.datasets.formats.stream_map import MapError
from waldo.datasets.formats.target import export_dataset
from waldo.datasets.lerobot.format import LeRobotConfig
from waldo.datasets.selection import Selection
from waldo.datasets.streams import DepthStream, Field, ScalarStream, VideoStream
from waldo.datasets.video import decoder, h264
from waldo.datasets.video.encoder import encode_frames
from waldo.errors import NoMatchError, UnknownNameError
from waldo.robots.cameras.ros_images import CHANNELS, CONVERSIONS, DEPTH_ENCODINGS

SEQUENCE_NOTE = "Bags do not store sequence numbers and publication times: losses cannot be counted."
START = 1_700_000_000_000_000_000


def take(source, target, robot="", **settings):
    return import_dataset(source, target, ImportConfig(**settings), robot=robot)


def same(before, after, *, frames=True):
    """Compare two episodes: everything that a bag can hold."""
    assert list(after.streams.values()) == list(before.streams.values())
    for name, stream in before.streams.items():
        for clock in ("header", "receipt"):
            assert np.array_equal(after.time_ns(name, clock), before.time_ns(name, clock)), (name, clock)
        if isinstance(stream, ScalarStream):
            for field in stream.fields:
                one, two = (e.values(name, field.name) for e in (before, after))
                assert one.dtype == two.dtype
                assert np.array_equal(one, two, equal_nan=True), (name, field.name)
        elif frames:
            assert np.array_equal(after.frames(name), before.frames(name)), name


# out


def test_the_messages_are_standard_ones_on_the_topics_of_waldo(record, script, tmp_path):
    dataset = record(script(), script(outcome="failure"))
    result = export_dataset(dataset, tmp_path / "bags", BagConfig())
    assert (result.episodes, result.unselected, result.skipped) == (1, 1, {})
    assert (result.rows, result.frames_copied, result.frames_encoded) == (4 * 60 + 10, 0, 60)
    assert result.notes[0] == (
        "Bags do not store sequence numbers and publication times; losses and repeated frames are not exported."
    )
    assert result.notes[1].startswith("cameras/front is encoded as JPEG of quality 95: ")
    assert result.notes[1].endswith("dB PSNR on average over a few frames; --images h264 copies the packets.")
    bag = tmp_path / "bags" / "episode_000000"
    assert sorted(path.name for path in bag.iterdir()) == ["episode_000000.mcap", "metadata.yaml"]
    episode, store = dataset.episodes[0], types.typestore()
    with Reader(bag) as reader:
        kinds = {c.topic: (c.msgtype, c.msgcount) for c in reader.connections}
        (task,) = [c for c in reader.connections if c.topic == "/task"]
        assert task.ext.offered_qos_profiles[0].durability.name == "TRANSIENT_LOCAL"
        first = {}
        for connection, log_ns, data in reader.messages():
            first.setdefault(connection.topic, (log_ns, store.deserialize_cdr(data, connection.msgtype)))
    assert kinds == {
        "/task": ("std_msgs/msg/String", 1),
        "/joint_states": ("sensor_msgs/msg/JointState", 60),
        "/joint_commands": ("sensor_msgs/msg/JointState", 60),
        "/joint_commands_sent": ("sensor_msgs/msg/JointState", 60),
        "/environment_state": ("sensor_msgs/msg/JointState", 60),
        "/motors": ("diagnostic_msgs/msg/DiagnosticArray", 10),
        "/cameras/front/image_raw/compressed": ("sensor_msgs/msg/CompressedImage", 30),
        "/cameras/wrist/image_raw/compressed": ("sensor_msgs/msg/CompressedImage", 30),
    }
    assert first["/task"][1].data == "lift the red cube"
    log_ns, state = first["/joint_states"]
    assert (log_ns, types.to_ns(state.header.stamp)) == (START + 1_000_000, START)
    assert (state.name, len(state.effort)) == (["hip", "knee", "claw"], 3)
    assert np.array_equal(state.position.astype(np.float32), episode.values("joints/state", "position")[0])
    image = cv2.imdecode(first["/cameras/front/image_raw/compressed"][1].data, cv2.IMREAD_COLOR)[..., ::-1]
    assert np.abs(image.astype(int) - episode.frames("cameras/front", [0])[0]).mean() < 3


def test_exported_motor_diagnostics_are_those_of_the_robot_node(record, script, tmp_path):
    """The messages of the robot node and of an export are read by the same code."""
    from waldo.robots import diagnostics

    export_dataset(record(script()), tmp_path / "bags", BagConfig())
    with Reader(tmp_path / "bags" / "episode_000000") as reader:
        motors = [c for c in reader.connections if c.topic == "/motors"]
        (_, _, data), *_ = reader.messages(connections=motors)
    message = types.typestore().deserialize_cdr(data, schema.DIAGNOSTIC_TYPE)
    found = diagnostics.from_message(message)
    assert found["knee"].values["winding_celsius"] == 40.0
    assert found["knee"].values["time_to_limit_seconds"] == math.inf
    assert math.isnan(found["knee"].values["duty_ratio"])
    assert message.status[1].name == "tiny: knee"


def test_a_new_motor_quantity_survives_a_bag(tmp_path, monkeypatch):
    """A quantity that is added to the schema is exported and imported with its unit, without waldo's metadata."""
    from waldo.robots import motor_readings
    from waldo.robots.motor_readings import MotorQuantity

    extra = MotorQuantity(
        attribute="wear", key="wear_ratio", unit="1", description="wear of the brushes", recorded="wear"
    )
    monkeypatch.setattr(motor_readings, "MOTOR_QUANTITIES", (*motor_readings.MOTOR_QUANTITIES, extra))
    with Bag(tmp_path / "bag") as bag:
        for tick in range(3):
            message = motors_message("r", ("a",), {"wear": np.array([0.25 * tick], np.float32)}, at(tick))
            bag.add("/motors", schema.DIAGNOSTIC_TYPE, at(tick), header=message.header, status=message.status)
    take(tmp_path / "bag", tmp_path / "d", robot="r")
    episode = Dataset.open(tmp_path / "d").episodes[0]
    assert episode.field("motors", "wear").unit == "1"
    assert episode.values("motors", "wear").tolist() == [[0.0], [0.25], [0.5]]


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_a_bag_restores_the_episode_exactly(record, script, tmp_path, storage):
    hands_off = {"hands_off": range(20, 30), "without_frames": {"cameras/wrist": [4]}}
    dataset = record(script(), script(seed=1, task='press "start"', outcome="failure", **hands_off))
    config = BagConfig(images="h264", storage=storage, selection=Selection())
    result = export_dataset(dataset, tmp_path / "bags", config)
    assert (result.frames_copied, result.frames_encoded) == (119, 0)
    assert len(result.notes) == 1
    back = take(tmp_path / "bags", tmp_path / "back")
    assert (back.format, back.copied, back.encoded, back.skipped) == ("rosbag2", 119, 0, {})
    assert back.notes == [SEQUENCE_NOTE]
    after = Dataset.open(tmp_path / "back")
    assert after.robot == "tiny"
    for one, two in zip(dataset.episodes, after.episodes, strict=True):
        same(one, two)
        assert (two.task, two.outcome, two.attributes["seed"]) == (one.task, one.outcome, one.attributes["seed"])
        assert (two.sequence("joints/state") == -1).all()
        assert (two.time_ns("joints/state", "publish") == -1).all()
    export_dataset(after, tmp_path / "again", config)
    names = [path.name for path in sorted((tmp_path / "bags").iterdir())]
    assert names == ["episode_000000", "episode_000001"]
    for name in names:
        one, two = (list(messages(tmp_path / folder / name)) for folder in ("bags", "again"))
        assert one == two


def messages(bag):
    with Reader(bag) as reader:
        for connection, log_ns, data in reader.messages():
            yield connection.topic, connection.msgtype, log_ns, bytes(data)


def test_every_kind_of_stream_comes_back(tmp_path):
    """Float64, several fields, odd names and units, depth in other units, lossless video and JPEGs, events."""
    rng = np.random.default_rng(0)
    labels = ("a: b", "ö", "c")
    position = Field("position", "rad", labels)
    streams = [
        ScalarStream(name="joints/state", rate_hz=50.0, fields=(position, Field("effort", "N·m", labels))),
        ScalarStream(name="motors", rate_hz=50.0, fields=(Field("winding", "°C", ("m1", "m2"), "float64"),)),
        ScalarStream(name="joint_states", rate_hz=50.0, fields=(Field("position", "rad", ("x",)),)),
        ScalarStream(name="task", rate_hz=50.0, fields=(Field("position", "rad", ("x",)),)),
        ScalarStream(name="arm/state", rate_hz=50.0, fields=(Field("velocity", "rad/s", ("x",), "float64"),)),
        ScalarStream(
            name="3rd.force-torque", rate_hz=50.0, fields=(Field("force", "N", ("x", "y")), Field("t", "", "z"))
        ),
        DepthStream(name="depth/front", width=20, height=18, rate_hz=10.0, unit_m=0.0001),
    ]
    for codec in ("lossless", "jpeg"):
        streams.append(VideoStream(name=f"cameras/{codec}", width=32, height=18, rate_hz=10.0, codec=codec))
    dataset = Dataset.create(tmp_path / "d", robot="odd")
    with dataset.lock():
        writer = dataset.begin(streams, {"task": "", "operator": "me"}, back_pressure="wait")
        for row in range(7):
            stamps = {
                "header_ns": START + row * 20_000_000,
                "receipt_ns": START + row * 20_000_000 + row,
                "sequence": row,
            }
            for stream in streams[:6]:
                values = {f.name: rng.normal(size=len(f.labels)) * 1e-3 for f in stream.fields}
                writer.row(stream.name, values=values, **stamps)
            writer.frame("depth/front", image=rng.integers(0, 2**16, (18, 20), np.uint16), **stamps)
            for codec in ("lossless", "jpeg"):
                writer.frame(f"cameras/{codec}", image=rng.integers(0, 256, (18, 32, 3), np.uint8), **stamps)
        writer.event("pause", "the operator paused", at_ns=START + 5, by="me")
        writer.save("success")
    result = export_dataset(dataset, tmp_path / "bags", BagConfig(images="h264"))
    assert result.notes[1:] == [
        "cameras/lossless: exported as lossless RGB H.264, which few players support.",
        "depth/front: ROS assumes millimeters for 16UC1; only waldo imports the actual unit.",
    ]
    back = take(tmp_path / "bags", tmp_path / "back")
    assert back.skipped == {}
    before, after = dataset.episodes[0], Dataset.open(tmp_path / "back").episodes[0]
    same(before, after)
    assert (after.events, after.attributes["operator"]) == (before.events, "me")
    chunks = [[e.shard("cameras/jpeg").chunk(n) for n in range(7)] for e in (before, after)]
    assert chunks[0] == chunks[1]


@given(st.floats(width=32))
def test_a_float32_comes_back_from_its_text(value):
    found = np.float32(types.number_of(types.text_of(np.float32(value))))
    assert np.array_equal(found, np.float32(value), equal_nan=True)
    assert math.copysign(1, found) == math.copysign(1, value) or math.isnan(value)


@given(st.floats())
def test_a_float64_comes_back_from_its_text(value):
    found = types.number_of(types.text_of(np.float64(value)))
    assert found == value or math.isnan(value)


def test_stamps_that_ros_cannot_hold_leave_an_episode_out(record, script, tmp_path, streams):
    dataset = record(script(seconds=0.2))
    with dataset.lock():
        writer = dataset.begin(streams[1:2], {"task": ""}, back_pressure="wait")
        writer.row("joints/command", header_ns=-5, receipt_ns=5, sequence=1, values={"position": np.zeros(3)})
        writer.save("success")
    result = export_dataset(dataset, tmp_path / "bags", BagConfig())
    assert result.skipped == {1: "timestamp: -5 ns is outside the range of ROS (1970 to 2038)"}
    assert [path.name for path in (tmp_path / "bags").iterdir()] == ["episode_000000"]


def test_jpegs_are_what_an_import_of_jpegs_keeps(record, script, tmp_path):
    export_dataset(record(script(seconds=0.5)), tmp_path / "bags", BagConfig(cameras=("front",)))
    result = take(tmp_path / "bags", tmp_path / "back")
    assert (result.copied, result.encoded) == (15, 0)
    episode = Dataset.open(tmp_path / "back").episodes[0]
    assert list(episode.cameras) == ["cameras/front"]
    assert episode.camera("cameras/front").codec == "jpeg"


def test_workers_write_the_same_bags(record, script, tmp_path):
    from waldo.datasets.jobs import Jobs

    dataset = record(script(seconds=0.3), script(seed=1, seconds=0.3))
    export_dataset(dataset, tmp_path / "one", BagConfig())
    export_dataset(dataset, tmp_path / "two", BagConfig(), jobs=Jobs(workers=2))
    for path in (tmp_path / "one").rglob("*.mcap"):
        assert path.read_bytes() == (tmp_path / "two" / path.relative_to(tmp_path / "one")).read_bytes()


# in


class Bag:
    """A bag of another project."""

    def __init__(self, path, storage=StoragePlugin.MCAP):
        self.writer = Writer(path, version=9, storage_plugin=storage)
        self.connections = {}

    def __enter__(self):
        self.writer.open()
        return self

    def __exit__(self, *_):
        self.writer.close()

    def add(self, topic, kind, log_ns, **fields):
        key = topic, kind
        if key not in self.connections:
            self.connections[key] = self.writer.add_connection(topic, kind, typestore=types.typestore())
        data = types.typestore().serialize_cdr(types.new(kind, **fields), kind)
        self.writer.write(self.connections[key], log_ns, data)

    def joints(self, topic, log_ns, names, **arrays):
        full = {name: np.array(arrays.get(name, []), np.float64) for name in ("position", "velocity", "effort")}
        self.add(topic, schema.JOINT_STATE_TYPE, log_ns, header=types.header(log_ns - 1000), name=list(names), **full)

    def image(self, topic, log_ns, encoding, pixels, step=None, big=0):
        height, width = pixels.shape[:2]
        data = np.ascontiguousarray(pixels).view(np.uint8).reshape(height, -1)
        if step:
            data = np.pad(data, ((0, 0), (0, step - data.shape[1])))
        self.add(
            topic,
            schema.IMAGE_TYPE,
            log_ns,
            header=types.header(log_ns),
            height=height,
            width=width,
            encoding=encoding,
            is_bigendian=big,
            step=data.shape[1],
            data=data.reshape(-1),
        )


def at(tick, rate_hz=30):
    return START + round(tick * 1e9 / rate_hz)


def test_a_robots_own_bag(tmp_path):
    layout = types.new("std_msgs/msg/MultiArrayLayout", dim=[], data_offset=0)
    with Bag(tmp_path / "bag") as bag:
        for tick in range(10):
            names = ["b", "a"] if tick else ["a", "b"]
            bag.joints("/arm/joint_states", at(tick), names, position=[tick, 0.1][:: -1 if tick else 1])
            data = np.array([tick, 1.0])
            bag.add("/arm/commands", types.ARRAY_TYPE, at(tick), layout=layout, data=data)
            point = types.new(
                "trajectory_msgs/msg/JointTrajectoryPoint",
                positions=np.array([tick, 2.0]),
                velocities=np.zeros(0),
                accelerations=np.zeros(0),
                effort=np.zeros(0),
                time_from_start=types.new("builtin_interfaces/msg/Duration", sec=1, nanosec=5),
            )
            header = types.header(at(tick))
            bag.add("/arm/plan", types.TRAJECTORY_TYPE, at(tick), header=header, joint_names=["a", "b"], points=[point])
            bag.add("/temperature/m1", types.TEMPERATURE_TYPE, at(tick), header=header, temperature=40.5, variance=0.0)
            bag.add("/chatter", types.STRING_TYPE, at(tick), data="hello")
        bag.add("/task", types.STRING_TYPE, at(0), data=json.dumps({"task": "fold", "seed": 3, "outcome": "success"}))
    result = take(tmp_path / "bag", tmp_path / "d", robot="arm")
    assert result.notes == [
        SEQUENCE_NOTE,
        "std_msgs/msg/String: 10 messages not imported.",
        "Without joints/command the episodes cannot be exported to rows or used for training; pass --map "
        "KEY=joint_commands, with keys such as: /arm/commands, /arm/plan, /temperature/m1.",
    ]
    episode = Dataset.open(tmp_path / "d").episodes[0]
    assert (episode.task, episode.attributes["seed"], episode.outcome) == ("fold", 3, "unknown")
    assert set(episode.streams) == {"joints/state", "arm/commands", "arm/plan", "temperature/m1"}
    state = episode.values("joints/state", "position")
    assert state.dtype == np.float64  # 0.1 is no float32
    assert np.array_equal(state, [[tick, 0.1] for tick in range(10)])
    assert episode.field("joints/state", "position") == Field("position", "rad", ("a", "b"), "float64")
    assert episode.streams["joints/state"].rate_hz == 30
    assert episode.time_ns("joints/state")[0] == at(0) - 1000
    assert episode.time_ns("joints/state", "receipt")[0] == at(0)
    commands = episode.values("arm/commands", "value")
    assert (commands.dtype, commands.tolist()) == (np.float32, [[tick, 1.0] for tick in range(10)])
    assert np.array_equal(episode.time_ns("arm/commands"), episode.time_ns("arm/commands", "receipt"))
    assert episode.time_ns("arm/plan")[0] == at(0) + 1_000_000_005
    assert episode.values("temperature/m1", "temperature")[0] == 40.5


def trajectory_point(value, offset_ns):
    return types.new(
        "trajectory_msgs/msg/JointTrajectoryPoint",
        positions=np.array([value, -value], float),
        velocities=np.zeros(0),
        accelerations=np.zeros(0),
        effort=np.zeros(0),
        time_from_start=types.new("builtin_interfaces/msg/Duration", sec=0, nanosec=offset_ns),
    )


def test_a_newer_plan_replaces_the_rest_of_the_older_one(tmp_path):
    """Plans of five points, 0.2 s apart, every half second: two points of each are never executed."""
    with Bag(tmp_path / "bag") as bag:
        for plan in range(3):
            start = START + plan * 500_000_000
            points = [trajectory_point(10 * plan + k, k * 200_000_000) for k in range(5)]
            header = types.header(start)
            bag.add("/arm/plan", types.TRAJECTORY_TYPE, start, header=header, joint_names=["a", "b"], points=points)
    take(tmp_path / "bag", tmp_path / "d", robot="arm")
    episode = Dataset.open(tmp_path / "d").episodes[0]
    assert episode.values("arm/plan", "position")[:, 0].tolist() == [0, 1, 2, 10, 11, 12, 20, 21, 22, 23, 24]
    assert (np.diff(episode.time_ns("arm/plan")) > 0).all()


def test_parts_of_a_state_are_merged_by_name(tmp_path):
    """The arm publishes at 100 Hz and the gripper at 50 Hz, both on one topic; the arm's last part has no gripper."""
    with Bag(tmp_path / "bag") as bag:
        for tick in range(21):
            bag.joints("/arm/joint_states", at(tick, 100), ["a", "b"], position=[tick, -tick])
            if tick % 2 == 0 and tick < 20:
                bag.joints("/arm/joint_states", at(tick, 100) + 3_000_000, ["grip"], position=[1000 + tick])
    result = take(tmp_path / "bag", tmp_path / "d", robot="arm")
    note = "/arm/joint_states: 31 states of different joints were merged by name into 10 states of all 3 joints."
    assert note in result.notes
    episode = Dataset.open(tmp_path / "d").episodes[0]
    assert episode.field("joints/state", "position").labels == ("a", "b", "grip")
    state = episode.values("joints/state", "position")
    assert state.tolist() == [[2 * k, -2 * k, 1000 + 2 * k] for k in range(10)]


def test_topics_can_be_mapped(tmp_path):
    with Bag(tmp_path / "bag") as bag:
        for tick in range(3):
            for side in ("left", "right"):
                bag.joints(f"/{side}/joint_states", at(tick), ["a"], position=[tick])
    take(tmp_path / "bag", tmp_path / "d", robot="two")
    assert set(Dataset.open(tmp_path / "d").episodes[0].streams) == {"left/joint_states", "right/joint_states"}
    take(tmp_path / "bag", tmp_path / "named", robot="two", map=("/right/joint_states=joint_states",))
    assert set(Dataset.open(tmp_path / "named").episodes[0].streams) == {"left/joint_states", "joints/state"}
    with pytest.raises(MapError) as error:
        take(tmp_path / "bag", tmp_path / "none", robot="two", map=("/rigth/joint_states=joint_states",))
    assert str(error.value) == (
        "--map: unknown key '/rigth/joint_states', did you mean '/right/joint_states'? "
        "(keys of the source: /left/joint_states, /right/joint_states)"
    )
    assert not (tmp_path / "none").exists()


def two_arms(path):
    """Write a bag of two arms with joints in changing order, empty velocities, NaN efforts and commands by position."""
    with Bag(path) as bag:
        for tick in range(60):
            for side, first in (("left", 0.0), ("right", 1000.0)):
                values = {"j1": first + tick, "j2": first - tick}
                names = ["j1", "j2"] if tick % 2 else ["j2", "j1"]
                position = [values[name] for name in names]
                offset = 2_000_000 if side == "right" else 0
                effort = [np.nan, np.nan]
                bag.joints(f"/{side}/joint_states", at(tick) + offset, names, position=position, effort=effort)
                data = np.array([first + tick + 0.5, first - tick - 0.5])
                dims = types.new("std_msgs/msg/MultiArrayLayout", dim=[], data_offset=0)
                bag.add(f"/{side}/commands", types.ARRAY_TYPE, at(tick) + offset, layout=dims, data=data)
            bag.image("/cam/image_raw", at(tick), "rgb8", np.full((18, 20, 3), tick, np.uint8))


TWO_ARMS = (
    "/left/joint_states=joint_states:left_",
    "/right/joint_states=joint_states:right_",
    "/left/commands=joint_commands:left_j1,left_j2",
    "/right/commands=joint_commands:right_j1,right_j2",
)


def test_two_arms_become_one_state(tmp_path):
    two_arms(tmp_path / "bag")
    result = take(tmp_path / "bag", tmp_path / "d", robot="two", map=TWO_ARMS)
    assert (result.episodes, result.skipped) == (1, {})
    episode = Dataset.open(tmp_path / "d").episodes[0]
    joints = episode.field("joints/state", "position").labels
    assert joints == ("left_j2", "left_j1", "right_j2", "right_j1")
    state = dict(zip(joints, episode.values("joints/state", "position").T.tolist(), strict=True))
    assert state["left_j1"] == list(range(60))
    assert state["right_j2"] == [1000.0 - tick for tick in range(60)]
    assert episode.field("joints/command", "position").labels == ("left_j1", "left_j2", "right_j1", "right_j2")
    assert episode.values("joints/command", "position")[7].tolist() == [7.5, -7.5, 1007.5, 992.5]
    assert "effort" not in [field.name for field in episode.streams["joints/state"].fields]
    assert "/left/joint_states + /right/joint_states: effort is never known and is not imported." in result.notes
    exported = export_dataset(Dataset.open(tmp_path / "d"), tmp_path / "out", LeRobotConfig(selection=Selection()))
    assert (exported.episodes, exported.skipped) == (1, {})


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        (
            ("/left/joint_states=joint_states", "/right/joint_states=joint_states"),
            "/left/joint_states and /right/joint_states both have a value 'j2' in joints/state; give each a prefix",
        ),
        (("/left/commands=joint_commands:a,b,c",), "/left/commands has 2 values, but 3 names are given"),
        (("/cam/image_raw=joint_states",), "/cam/image_raw contains images, but joints/state was given"),
        (("/left/commands=cameras/left",), "/left/commands contains numbers, but cameras/left was given"),
    ],
)
def test_a_mapping_that_does_not_fit_the_topics_is_refused(tmp_path, pairs, message):
    two_arms(tmp_path / "bag")
    with pytest.raises(MapError) as error:
        take(tmp_path / "bag", tmp_path / "d", robot="two", map=pairs)
    assert str(error.value).startswith(f"--map: {message}")
    assert "\n" not in str(error.value)


def test_arms_that_are_never_received_together_are_left_out_by_name(tmp_path):
    with Bag(tmp_path / "bag") as bag:
        for tick in range(4):
            bag.joints("/left/joint_states", at(tick, 1), ["a"], position=[tick])
            bag.joints("/right/joint_states", at(tick, 1) + 400_000_000, ["a"], position=[tick])
            bag.joints("/tool", at(tick, 1), ["t"], position=[tick])
    result = take(tmp_path / "bag", tmp_path / "d", robot="two", map=TWO_ARMS[:2])
    note = "joints/state is not imported: /left/joint_states + /right/joint_states have no messages within 100 ms of"
    assert any(text.startswith(note) for text in result.notes)
    assert set(Dataset.open(tmp_path / "d").episodes[0].streams) == {"tool"}


def test_topics_of_an_export_can_be_mapped_as_well(record, script, tmp_path):
    export_dataset(record(script()), tmp_path / "bags", BagConfig())
    result = take(
        tmp_path / "bags", tmp_path / "d", map=("/joint_commands=none", "/joint_commands_sent=joint_commands")
    )
    before, after = Dataset.open(tmp_path / "dataset").episodes[0], Dataset.open(tmp_path / "d").episodes[0]
    assert "joints/sent" not in after.streams
    sent = before.values("joints/sent", "position")
    assert np.array_equal(after.values("joints/command", "position"), sent)
    (left_out,) = [row for row in result.mapped if row.key == "/joint_commands"]
    assert (left_out.stream, left_out.why) == ("", "left out by --map")


def test_images_of_every_encoding(tmp_path):
    rng = np.random.default_rng(0)
    color = rng.integers(0, 256, (5, 18, 20, 3), np.uint8)
    depth = rng.integers(1, 2**16, (5, 18, 20), np.uint16)
    png = [cv2.imencode(".png", image[..., ::-1])[1] for image in color]
    with Bag(tmp_path / "bag") as bag:
        for tick in range(5):
            bag.image("/cam/rgb/image_raw", at(tick), "rgb8", color[tick], step=80)
            bag.image("/cam/bgr/image_raw", at(tick), "bgr8", color[tick][..., ::-1])
            bag.image("/cam/mono/image_raw", at(tick), "mono8", color[tick][..., :1])
            bag.image("/robot/cameras/front/depth/image_raw", at(tick), "16UC1", depth[tick])
            bag.image("/cam/big", at(tick), "16UC1", depth[tick].astype(">u2"), big=1)
            bag.image("/cam/meters", at(tick), "32FC1", depth[tick].astype(np.float32) / 1000)
            bag.image("/cam/bayer", at(tick), "bayer_rggb8", color[tick][..., :1])
            bag.image("/cam/yuv", at(tick), "yuv422", color[tick][..., :2])
            bag.image("/cam/nv21", at(tick), "nv21", color[tick][..., :1])
            bag.image("/cam/tiny", at(tick), "rgb8", color[tick][:8, :8])
            header = types.header(at(tick))
            bag.add(
                "/cam/png/compressed",
                schema.COMPRESSED_IMAGE_TYPE,
                at(tick),
                header=header,
                format="png",
                data=png[tick].reshape(-1),
            )
    result = take(tmp_path / "bag", tmp_path / "d", robot="r")
    assert result.notes[:-1] == [
        SEQUENCE_NOTE,
        "cameras/cam/bayer: bayer_rggb8 is converted to RGB.",
        "depth/cam/meters: depth is rounded from meters to millimeters; unknown depth becomes 0.",
        "/cam/nv21 is not imported: unsupported image encoding 'nv21' "
        f"(supported: {', '.join([*CHANNELS, *CONVERSIONS, *DEPTH_ENCODINGS])}).",
        "cameras/cam/tiny: 8x8 images are not imported; the smallest supported side is 16 pixels.",
        "cameras/cam/yuv: yuv422 is converted to RGB.",
    ]
    episode = Dataset.open(tmp_path / "d").episodes[0]
    for name in ("rgb", "bgr", "png"):
        assert np.array_equal(episode.frames(f"cameras/cam/{name}"), color), name
    bayer = [cv2.cvtColor(image[..., 0], cv2.COLOR_BayerRGGB2RGB) for image in color]
    assert np.array_equal(episode.frames("cameras/cam/bayer"), bayer)
    yuv = [cv2.cvtColor(np.ascontiguousarray(image[..., :2]), cv2.COLOR_YUV2RGB_UYVY) for image in color]
    assert np.array_equal(episode.frames("cameras/cam/yuv"), yuv)
    assert np.array_equal(episode.frames("cameras/cam/mono")[..., 2], color[..., 0])
    for name in ("depth/front", "depth/cam/big", "depth/cam/meters"):
        assert np.array_equal(episode.frames(name), depth), name


def add_video(bag, topic, packets, codec="h264"):
    for tick, packet in enumerate(packets):
        data = np.frombuffer(packet.data, np.uint8)
        bag.add(
            topic, types.VIDEO_TYPE, at(tick), timestamp=types.stamp(at(tick)), frame_id="", data=data, format=codec
        )


def compressed_depth(pixels, a=0.0, b=0.0, header=True):
    """Return the data of a CompressedImage as compressed_depth_image_transport writes it."""
    png = cv2.imencode(".png", pixels)[1].tobytes()
    return np.frombuffer((struct.pack("<iff", 0, a, b) if header else b"") + png, np.uint8)


def test_compressed_depth(tmp_path):
    """16UC1 is exact; 32FC1 is quantized as a / depth + b and comes back within half a step."""
    rng = np.random.default_rng(0)
    millimeters = rng.integers(0, 2**16, (4, 18, 20), np.uint16)
    meters = rng.uniform(0.4, 6.0, (4, 18, 20))
    a, b = 100.0 * 101.0, 1 - 100.0 * 101.0 / 10.0
    with Bag(tmp_path / "bag") as bag:
        for tick in range(4):
            quantized = np.rint(a / meters[tick] + b).astype(np.uint16)
            quantized[0, 0] = 0
            for name, form, data in (
                ("mm", "16UC1; compressedDepth png", compressed_depth(millimeters[tick])),
                ("bare", "16UC1; compressedDepth", compressed_depth(millimeters[tick], header=False)),
                ("m", "32FC1; compressedDepth png", compressed_depth(quantized, a, b)),
                ("rvl", "16UC1; compressedDepth rvl", np.frombuffer(bytes(12) + rvl_image(millimeters[tick]), "u1")),
                ("zip", "16UC1; compressedDepth zip", np.zeros(40, np.uint8)),
            ):
                topic = f"/{name}/image_raw/compressedDepth"
                kind = schema.COMPRESSED_IMAGE_TYPE
                bag.add(topic, kind, at(tick), header=types.header(at(tick)), format=form, data=data)
    result = take(tmp_path / "bag", tmp_path / "d", robot="r")
    episode = Dataset.open(tmp_path / "d").episodes[0]
    assert set(episode.streams) == {"depth/mm", "depth/bare", "depth/m", "depth/rvl"}
    assert np.array_equal(episode.frames("depth/rvl"), millimeters)
    assert np.array_equal(episode.frames("depth/mm"), millimeters)
    assert np.array_equal(episode.frames("depth/bare"), millimeters)
    found = episode.frames("depth/m")
    assert (found[:, 0, 0] == 0).all()
    step_mm = 1000 * meters**2 / a
    known = np.ones_like(meters, bool)
    known[:, 0, 0] = False
    assert (np.abs(found - 1000 * meters)[known] <= (0.5 * step_mm + 1)[known]).all()
    assert any(
        note.startswith("/zip/image_raw/compressedDepth is not imported: image of format '16UC1; compressedDepth zip'")
        for note in result.notes
    )
    assert "depth/m: depth is rounded from meters to millimeters; unknown depth becomes 0." in result.notes


def test_video_of_another_project(tmp_path, make_image):
    shown = np.stack([make_image(n) for n in range(12)])
    regular = encode_frames(shown, gop=4, crf=20)
    longer = np.stack([make_image(n) for n in range(130)])
    irregular = [*encode_frames(longer[:30], gop=5, crf=20), *encode_frames(longer[30:], gop=7, crf=20)]
    with Bag(tmp_path / "bag") as bag:
        add_video(bag, "/cameras/a/image_raw/h264", regular)
        add_video(bag, "/cameras/b/image_raw/h264", irregular)
        add_video(bag, "/cameras/c/image_raw/video", regular, codec="mystery")
    result = take(tmp_path / "bag", tmp_path / "d", robot="r")
    assert (result.copied, result.encoded) == (12, 130)
    mystery = "codec 'mystery' is not supported (supported: h264, h265, vp9, av1)"
    assert f"/cameras/c/image_raw/video is not imported: {mystery}." in result.notes
    assert any(note.startswith("cameras/b: converted from h264") for note in result.notes)
    episode = Dataset.open(tmp_path / "d").episodes[0]
    assert (episode.camera("cameras/a").gop, episode.camera("cameras/a").codec) == (4, "h264")
    assert np.array_equal(
        episode.frames("cameras/a")[:4],
        decoder.decode(b"".join(h264.to_sample(p.data) for p in regular[:4]), range(4), (48, 64)),
    )


def test_rates_are_those_of_the_first_bag(tmp_path):
    for number, rate_hz in enumerate((100, 97)):
        with Bag(tmp_path / "bags" / f"take_{number}") as bag:
            for tick in range(20):
                bag.joints("/joint_states", at(tick, rate_hz), ["a"], position=[tick])
    result = take(tmp_path / "bags", tmp_path / "d", robot="r")
    assert (result.episodes, result.skipped) == (2, {})
    assert {e.streams["joints/state"].rate_hz for e in Dataset.open(tmp_path / "d").episodes} == {100.0}


@pytest.mark.parametrize(
    ("stamps", "rate_hz"),
    [([], 1.0), ([5], 1.0), ([0, 0], 1.0), ([0, 33_366_667, 66_733_333], 30.0), ([0, 400_000_000], 2.5)],
)
def test_nominal_rates(stamps, rate_hz):
    assert rate_of(stamps) == rate_hz


# broken bags


@pytest.mark.parametrize(("storage", "end"), [("mcap", ".mcap"), ("sqlite3", ".db3")])
def test_a_cut_bag_is_skipped(record, script, tmp_path, storage, end):
    dataset = record(script(seconds=0.3), script(seconds=0.3, seed=1))
    export_dataset(dataset, tmp_path / "bags", BagConfig(storage=storage))
    bag = tmp_path / "bags" / "episode_000000"
    path = bag / f"episode_000000{end}"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    result = take(tmp_path / "bags", tmp_path / "d", robot="tiny")
    assert (result.episodes, list(result.skipped)) == (1, ["episode_000000"])
    assert result.skipped["episode_000000"].startswith(f"{bag}: the bag is incomplete or damaged (")


def test_damaged_bags(tmp_path):
    (tmp_path / "bag").mkdir()
    (tmp_path / "bag" / "metadata.yaml").write_text("rosbag2_bagfile_information: [")
    (why,) = take(tmp_path / "bag", tmp_path / "d", robot="r").skipped.values()
    assert why.startswith(f"{tmp_path / 'bag'}: the bag is incomplete or damaged (Could not load YAML")
    (tmp_path / "bag" / "metadata.yaml").write_text("x: 1")
    (why,) = take(tmp_path / "bag", tmp_path / "d", robot="r").skipped.values()
    assert "A metadata key is missing" in why
    (tmp_path / "x.mcap").write_bytes(b"no bag")
    (why,) = take(tmp_path / "x.mcap", tmp_path / "d", robot="r").skipped.values()
    assert why.startswith(f"{tmp_path / 'x.mcap'}: the bag is incomplete or damaged (")
    with Bag(tmp_path / "empty"):
        pass
    assert take(tmp_path / "empty", tmp_path / "d", robot="r").skipped == {
        "empty": "empty: the bag has no message that can be imported"
    }


def test_a_message_that_is_cut_is_counted_as_lost(tmp_path):
    with Bag(tmp_path / "bag") as bag:
        for tick in range(5):
            bag.joints("/joint_states", at(tick), ["a"], position=[tick])
        (connection,) = bag.connections.values()
        bag.writer.write(connection, at(5), b"\0\1\0\0\5")
    take(tmp_path / "bag", tmp_path / "d", robot="r")
    episode = Dataset.open(tmp_path / "d").episodes[0]
    assert (episode.count("joints/state"), episode.lost("joints/state")) == (5, 1)


@pytest.mark.parametrize(
    "metadata",
    [
        "{",
        "[]",
        '{"streams": {"../../x": {}}}',
        json.dumps({"streams": {"../x": {"kind": "scalar", "name": "../x", "rate_hz": 1, "fields": []}}, "places": {}}),
    ],
)
def test_malformed_metadata_is_ignored(tmp_path, metadata):
    with Bag(tmp_path / "bag") as bag:
        bag.writer.set_custom_data("waldo", metadata)
        bag.joints("/joint_states", at(0), ["a"], position=[1])
    assert take(tmp_path / "bag", tmp_path / "d", robot="r").skipped == {}
    assert list(Dataset.open(tmp_path / "d").episodes[0].streams) == ["joints/state"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bag", "d"]


def test_topics_of_any_name_stay_in_the_episode(tmp_path):
    names = ["/../../escape", "/" + "x" * 300, "/ü/ö", "/a", "/a/b", "/joints/state"]
    with Bag(tmp_path / "bag") as bag:
        for place, name in enumerate(names):
            bag.joints(name, at(0), ["a"], position=[place])
    assert take(tmp_path / "bag", tmp_path / "d", robot="r").skipped == {}
    episode = Dataset.open(tmp_path / "d").episodes[0]
    assert sorted(float(episode.values(name, "position")[0, 0]) for name in episode.streams) == list(range(6))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bag", "d"]


def test_a_second_import_skips_known_bags(record, script, tmp_path):
    export_dataset(record(script(seconds=0.2), script(seconds=0.2, seed=1)), tmp_path / "bags", BagConfig())
    assert take(tmp_path / "bags" / "episode_000001", tmp_path / "d").episodes == 1
    result = take(tmp_path / "bags", tmp_path / "d")
    assert (result.episodes, result.existing) == (1, 1)


def test_an_export_of_nothing_is_refused(record, script, tmp_path):
    dataset = record(script(outcome="failure"))
    with pytest.raises(NoMatchError):
        export_dataset(dataset, tmp_path / "bags", BagConfig())


def test_an_unknown_camera_is_refused_before_anything_is_written(record, script, tmp_path):
    with pytest.raises(UnknownNameError, match="unknown camera 'frnt'; did you mean 'front'"):
        export_dataset(record(script(seconds=0.2)), tmp_path / "bags", BagConfig(cameras=("frnt",)))
    assert [path.name for path in tmp_path.iterdir()] == ["dataset"]
