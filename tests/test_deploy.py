"""The files to deploy name commands, options and metrics that exist."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.machine import needs_promtool, promtool
from waldo.cli import main
from waldo.robots.motor_readings import MOTOR_QUANTITIES

ROOT = Path(__file__).parent.parent
DEPLOY = ROOT / "deploy"
METRIC = re.compile(r"waldo_(?:joint|robot|component)_\w+")

OTHER_METRICS = {
    "waldo_joint_thermal_headroom_ratio",
    "waldo_joint_status_level",
    "waldo_component_status_level",
    "waldo_robot_state",
    "waldo_robot_last_seen_timestamp_seconds",
    "waldo_robot_battery_charge_ratio",
}
"""Metrics that are not motor quantities; tests/fleet/test_metrics.py asserts each."""


def commands(text: str) -> list[list[str]]:
    """Return the `waldo` commands in a file, without the path of the executable."""
    found = re.findall(r"(?:bin/|^ *)waldo ([a-z]+ [^\n]*(?:\n {10,}--[^\n]*)*)", text, re.MULTILINE)
    return [shlex.split(command) for command in found]


@pytest.mark.parametrize("name", ["evaluate.yml", "waldo-fleet.service"])
def test_commands_have_options_that_exist(name: str) -> None:
    found = commands((DEPLOY / name).read_text())
    assert found
    for command, *words in found:
        main.parse(command, words)


@pytest.mark.parametrize("name", ["alerts.yml", "grafana-dashboard.json"])
def test_metrics_exist(name: str) -> None:
    known = {f"waldo_joint_{quantity.metric}" for quantity in MOTOR_QUANTITIES if quantity.metric} | OTHER_METRICS
    found = set(METRIC.findall((DEPLOY / name).read_text()))
    assert found
    assert found <= known


@needs_promtool
def test_promtool_accepts_the_rules_and_the_configuration() -> None:
    for kind, name in (("rules", "alerts.yml"), ("config", "prometheus.yml")):
        found = subprocess.run([promtool(), "check", kind, name], cwd=DEPLOY, capture_output=True, text=True)
        assert found.returncode == 0, found.stdout + found.stderr


def test_yaml_and_json_are_valid() -> None:
    for path in [*DEPLOY.glob("*.yml"), *(ROOT / ".github" / "workflows").glob("*.yml")]:
        assert isinstance(yaml.safe_load(path.read_text()), dict), path
    dashboard: Any = json.loads((DEPLOY / "grafana-dashboard.json").read_text())
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
