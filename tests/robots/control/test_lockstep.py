"""Lockstep: what the clock of a simulated robot waits for."""

from __future__ import annotations

from waldo.robots.control.lockstep import Lockstep


def test_without_peers_nothing_is_waited_for() -> None:
    lockstep = Lockstep(())
    lockstep.count("joint_states")
    assert not lockstep
    assert lockstep.all_received()
    assert lockstep.is_answered(5)
    assert lockstep.publishers() == ()


def test_every_published_message_must_be_received() -> None:
    lockstep = Lockstep(("recorder",))
    for topic in ("joint_states", "status", "status"):
        lockstep.count(topic)
    lockstep.acknowledge({"joint_states": 1, "status": 1})
    assert not lockstep.all_received()
    assert lockstep.is_received("joint_states")
    assert not lockstep.is_received("status")
    lockstep.acknowledge({"joint_states": 1, "status": 2})
    assert lockstep.all_received()
    assert lockstep.is_answered(10**9)


def test_the_first_message_of_a_topic_must_be_received() -> None:
    lockstep = Lockstep(("recorder",))
    lockstep.count("status")
    assert not lockstep.all_received()
    assert not lockstep.is_received("status")
    lockstep.acknowledge({"status": 1})
    assert lockstep.all_received()


def test_the_operators_last_command_must_be_received() -> None:
    lockstep = Lockstep(("operator", "recorder"))
    lockstep.command(100, 3)
    assert not lockstep.all_received()
    lockstep.acknowledge({"joint_commands": 3})
    assert lockstep.all_received()
    assert lockstep.is_answered(100)
    assert not lockstep.is_answered(101)


def test_peers_need_the_topics_that_they_read() -> None:
    topics = ("joint_states", "environment_state", "motors", "status")
    assert Lockstep(("operator",)).subscribers(topics) == {
        "joint_states": 1,
        "environment_state": 1,
        "motors": 0,
        "status": 0,
    }
    both = Lockstep(("operator", "recorder"))
    assert both.subscribers(topics) == {"joint_states": 2, "environment_state": 2, "motors": 1, "status": 1}
    assert both.publishers() == ("joint_commands", "received")
