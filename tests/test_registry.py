"""Registries are filled by entry points; a third party adds a name without replacing one of waldo's."""

from __future__ import annotations

from importlib.metadata import EntryPoint

import pytest

from waldo import registry
from waldo.errors import UnknownNameError
from waldo.robots.description import load_robot


@pytest.mark.parametrize("group", registry.GROUPS)
def test_every_group_is_filled_and_loads(group: str) -> None:
    found = registry.names(group)
    assert found
    for name in found:
        assert registry.load(group, name, "object") is not None


def test_an_unknown_name_gets_a_suggestion() -> None:
    with pytest.raises(UnknownNameError) as error:
        registry.load("waldo.robots", "so10", "robot")
    known = ", ".join(registry.names("waldo.robots"))
    assert str(error.value) == f"unknown robot 'so10'; did you mean 'so101'? (known: {known})"


def test_a_third_party_adds_a_robot_but_cannot_replace_one_of_waldos(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = EntryPoint("so101", "waldo.robots.presets.so101:SO101", "waldo.robots")
    theirs = [
        EntryPoint("so101", "waldo.robots.presets.g1:G1", "waldo.robots"),
        EntryPoint("my_arm", "waldo.robots.presets.g1:G1", "waldo.robots"),
    ]
    theirs = [EntryPoint(one.name, one.value.replace("waldo.", "acme."), one.group) for one in theirs]
    registry.entries.cache_clear()
    monkeypatch.setattr(registry, "entry_points", lambda group: [ours, *theirs])
    try:
        assert registry.names("waldo.robots") == ("my_arm", "so101")
        assert load_robot("so101").name == "so101"
    finally:
        registry.entries.cache_clear()
