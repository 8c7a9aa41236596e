from waldo.robots.joint_parts import MERGE_NS, JointParts


def test_parts_of_a_state_are_merged_by_name() -> None:
    parts = JointParts[int](["a", "b", "grip"])
    assert parts.add({"a": 1, "b": 2}, 10) is None
    assert parts.add({"other": 9}, 11) is None
    assert parts.add({"a": 3, "b": 4}, 12) is None  # the newest part counts
    assert parts.add({"grip": 5}, 13) == {"a": 3, "b": 4, "grip": 5}
    assert parts.add({"grip": 6}, 14) is None  # every joint again


def test_a_complete_state_needs_no_other_part() -> None:
    parts = JointParts[int](["a", "b"])
    assert parts.add({"b": 2, "a": 1, "wheel": 7}, 0) == {"a": 1, "b": 2}


def test_a_part_that_is_too_old_is_not_merged() -> None:
    parts = JointParts[int](["a", "b"])
    parts.add({"a": 1}, 0)
    assert parts.add({"b": 2}, MERGE_NS + 1) is None
    assert parts.add({"a": 3}, 2 * MERGE_NS + 1) == {"a": 3, "b": 2}
