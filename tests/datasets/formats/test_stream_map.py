import pytest

from waldo.datasets.formats.stream_map import MapError, StreamMap, Target

KEYS = ("state", "image", "/left/joint_states", "a=b")


@pytest.mark.parametrize(
    ("pair", "target"),
    [
        ("state=joint_states", Target(stream="joints/state", field="position")),
        ("state=joints/state", Target(stream="joints/state", field="position")),
        ("state=joint_states/velocity", Target(stream="joints/state", field="velocity")),
        ("state=joint_commands:x,y", Target(stream="joints/command", field="position", names=("x", "y"))),
        ("state=joint_commands_sent:gripper", Target(stream="joints/sent", field="position", names=("gripper",))),
        ("state=environment_state", Target(stream="environment", field="value")),
        ("state=motors/winding", Target(stream="motors", field="winding")),
        ("state=robot0_eef_pos", Target(stream="robot0_eef_pos")),
        ("image=cameras/wrist", Target(stream="cameras/wrist")),
        ("image=depth/wrist/left", Target(stream="depth/wrist/left")),
        ("image=none", Target(stream="")),
        ("a=b=joint_states", Target(stream="joints/state", field="position")),
        (
            "/left/joint_states=joint_states:left_",
            Target(stream="joints/state", field="position", prefix="left_"),
        ),
    ],
)
def test_a_pair_names_a_key_and_its_target(pair, target):
    mapping = StreamMap([pair], KEYS)
    key = pair.rpartition("=")[0]
    assert mapping.get(key, is_images=target.is_images) == target
    assert mapping.get("other", is_images=False) is None


def test_names_and_prefixes():
    mapping = StreamMap(["state=joint_states:x,y", "/left/joint_states=joint_states:left_"], KEYS)
    assert mapping.labels("state", ["0", "1"]) == ("x", "y")
    assert mapping.labels("/left/joint_states", ["a", "b"]) == ("left_a", "left_b")
    assert mapping.labels("image", ["0"]) == ("0",)
    assert mapping.order == ["state", "/left/joint_states"]
    assert mapping.takes("joints/state", "position")
    assert not mapping.takes("joints/state", "velocity")


@pytest.mark.parametrize(
    ("pairs", "why"),
    [
        (["state"], "'state' is not of the form KEY=STREAM or KEY=STREAM:NAMES"),
        (["=joint_states"], "'=joint_states' is not of the form KEY=STREAM or KEY=STREAM:NAMES"),
        (["state="], "'state=' is not of the form KEY=STREAM or KEY=STREAM:NAMES"),
        (["stat=joint_states"], "unknown key 'stat', did you mean 'state'?"),
        (["state=joint_states", "state=joint_commands"], "state is mapped twice"),
        (["image=cameras/a", "state=cameras/a"], "image and state are both mapped to cameras/a"),
        (["state=joint_sates"], "unknown stream 'joint_sates', did you mean 'joint_states'?; expected joint_states, "),
        (["image=cameras/"], "unknown stream 'cameras/'"),
        (["image=cameras/../x"], "unknown stream 'cameras/../x'"),
        (
            ["state=joint_states/temperature"],
            "'state=joint_states/temperature' needs a field of joint_states: position",
        ),
        (["state=motors"], "'state=motors' needs a field of motors: "),
        (["state=joint_states:"], "'state=joint_states:' has no names after the colon"),
        (["image=cameras/a:x"], "'image=cameras/a:x' has no names after the colon, or its stream has no named values"),
        (["state=joint_states:a,,b"], "'state=joint_states:a,,b' has an empty name or one name twice"),
        (["state=joint_states:a,a"], "'state=joint_states:a,a' has an empty name or one name twice"),
    ],
)
def test_a_wrong_mapping_is_one_line_with_the_keys_of_the_source(pairs, why):
    with pytest.raises(MapError) as error:
        StreamMap(pairs, KEYS)
    assert str(error.value).startswith(f"--map: {why}")
    assert str(error.value).endswith("(keys of the source: state, image, /left/joint_states, a=b)")
    assert "\n" not in str(error.value)


def test_what_the_keys_contain_must_fit_their_targets():
    mapping = StreamMap(["state=cameras/a", "image=joint_states", "/left/joint_states=joint_commands:a,b"], KEYS)
    with pytest.raises(MapError, match="state contains numbers, but cameras/a was given; expected a stream of numbers"):
        mapping.get("state", is_images=False)
    with pytest.raises(MapError, match="image contains images, but joints/state was given; expected cameras/NAME"):
        mapping.get("image", is_images=True)
    with pytest.raises(MapError, match="/left/joint_states has 3 values, but 2 names are given"):
        mapping.labels("/left/joint_states", ["a", "b", "c"])
    with pytest.raises(MapError, match="state and image both have a value 'a' in joints/state"):
        mapping.require_distinct("joints/state", {"state": ["a", "b"], "image": ["c", "a"]})
