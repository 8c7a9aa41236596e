"""Who commands a robot: which commands pass, and who is in control after each of them."""

from __future__ import annotations

import pytest

from waldo.robots.control.arbiter import LABELS, SOURCE_OF_LABEL, Arbiter, Source, policy_frame

JOINTS = ("a", "b")


@pytest.fixture
def arbiter() -> Arbiter:
    return Arbiter()


def test_the_sources_have_the_values_of_the_recorded_stream() -> None:
    assert {source.name: int(source) for source in Source} == {"HOLD": 0, "PERSON": 1, "POLICY": 2}
    assert LABELS == {Source.HOLD: "hold", Source.PERSON: "person", Source.POLICY: "policy"}
    assert {SOURCE_OF_LABEL[label]: label for label in SOURCE_OF_LABEL} == LABELS


@pytest.mark.parametrize(("reason", "frame_id"), [("", "policy"), ("no instruction", "policy: no instruction")])
def test_a_policy_names_itself_and_its_reason(reason: str, frame_id: str) -> None:
    assert policy_frame(reason) == frame_id


def test_no_one_is_in_control_before_the_first_command(arbiter: Arbiter) -> None:
    assert (arbiter.source, arbiter.person_engaged) == (Source.HOLD, False)


@pytest.mark.parametrize("frame_id", ["policy", "policy: ", "policy: the state is old"])
def test_a_policy_commands_while_no_person_is_engaged(arbiter: Arbiter, frame_id: str) -> None:
    assert arbiter.admit(frame_id, JOINTS) == ""
    assert (arbiter.source, arbiter.person_engaged) == (Source.POLICY, False)


@pytest.mark.parametrize("frame_id", ["", "leader", "base_link", "policymaking", "policy_device", "Policy", " policy"])
def test_any_other_source_is_a_person(arbiter: Arbiter, frame_id: str) -> None:
    arbiter.admit("policy", JOINTS)
    assert arbiter.admit(frame_id, JOINTS) == ""
    assert (arbiter.source, arbiter.person_engaged) == (Source.PERSON, True)


@pytest.mark.parametrize("names", [JOINTS, ()])
@pytest.mark.parametrize("frame_id", ["policy", "policy: the state is old"])
def test_a_policy_is_ignored_while_a_person_is_engaged(arbiter: Arbiter, frame_id: str, names: tuple[str, ...]) -> None:
    arbiter.admit("", JOINTS)
    assert arbiter.admit(frame_id, names) is None
    assert (arbiter.source, arbiter.person_engaged) == (Source.PERSON, True)


def test_a_person_hands_back_by_a_command_without_joints(arbiter: Arbiter) -> None:
    arbiter.admit("", JOINTS)
    assert arbiter.admit("", ()) == ""
    assert (arbiter.source, arbiter.person_engaged) == (Source.PERSON, False)
    assert arbiter.admit("policy", JOINTS) == ""
    assert arbiter.source is Source.POLICY


def test_a_device_that_is_not_in_use_does_not_interrupt_a_policy(arbiter: Arbiter) -> None:
    arbiter.admit("policy", JOINTS)
    assert arbiter.admit("", ()) is None
    assert (arbiter.source, arbiter.person_engaged) == (Source.POLICY, False)


def test_a_device_that_is_not_in_use_may_release_a_robot_that_no_one_commands(arbiter: Arbiter) -> None:
    assert arbiter.admit("", ()) == ""
    assert (arbiter.source, arbiter.person_engaged) == (Source.PERSON, False)


@pytest.mark.parametrize(
    ("frame_id", "reason"),
    [("policy", ""), ("policy: ", "policy: "), ("policy: the state is old", "policy: the state is old")],
)
def test_the_reason_of_a_policy_passes_with_its_command_without_joints(
    arbiter: Arbiter, frame_id: str, reason: str
) -> None:
    assert arbiter.admit(frame_id, ()) == reason
    assert (arbiter.source, arbiter.person_engaged) == (Source.POLICY, False)


def test_a_release_forgets_the_source(arbiter: Arbiter) -> None:
    for frame_id in ("", "policy"):
        arbiter.admit(frame_id, JOINTS)
        arbiter.release()
        assert (arbiter.source, arbiter.person_engaged) == (Source.HOLD, False)
        assert arbiter.admit("policy", JOINTS) == ""
