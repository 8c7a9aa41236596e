"""Reports: `report.json` and the page, for successes, failures and a motor limit."""

import base64
import dataclasses
import json
import re

import pytest

from waldo.sim.evaluation.evaluate import evaluate
from waldo.sim.evaluation.report import write_report
from waldo.sim.evaluation.results import EvalConfig
from waldo.sim.experts.expert import ExpertPolicy


class Still:
    """A policy that holds its position."""

    fps = 30.0
    image_keys: tuple[str, ...] = ()

    def reset(self, which=None):
        pass

    def act(self, observation):
        return observation["observation.state"]


@pytest.fixture(scope="module")
def failure():
    return evaluate(Still(), EvalConfig(episodes=2, horizon_s=0.5, videos=0))


def test_the_page_and_the_json_contain_the_result(tmp_path):
    found = evaluate(ExpertPolicy, EvalConfig(task="lift", episodes=6, threads=2, videos=0), name="expert")
    page = write_report(found, tmp_path)
    values = json.loads((tmp_path / "report.json").read_text())
    assert (values["successes"], values["rate"], values["policy"]) == (6, 1.0, "expert")
    assert values["wilson_95"] == list(found.wilson_95)
    assert values["motors"][0]["joint"] == "shoulder_pan"
    assert values["motors"][0]["max_winding_c"] == found.motors[0].max_winding_c
    assert values["config"]["episodes"] == 6
    text = page.read_text()
    assert page.name == "report.html"
    assert "<h1>expert on lift</h1>" in text
    assert "success, 6 of 6" in text
    assert text.count('<i class="ok"') == 6
    assert "61.0–100.0" in text
    assert "at this mean heating no motor reaches its limit" in text
    assert "Within an episode" not in text
    assert not re.search(
        r"[{}%]{2}|undefined|None", re.sub(r"<style>.*</style>|base64,[A-Za-z0-9+/=]+", "", text, flags=re.S)
    )
    shown = ""
    for source in re.findall(r'src="([^"]+)"', text):
        assert source.startswith("data:image/svg+xml;base64,")
        shown += base64.b64decode(source.partition("base64,")[2], validate=True).decode()
    # matplotlib writes each text as a comment beside its shapes.
    for label in ("goal reached [%]", "winding [°C]", "steady rise / rise to the limit"):
        assert f"<!-- {label} -->" in shown


def test_failures_are_shown(failure, tmp_path):
    page = write_report(failure, tmp_path).read_text()
    assert "success, 0 of 2" in page
    assert page.count('<i class="no"') == 2
    assert "<b>–</b><span>median time to success" in page


def test_the_time_to_a_motor_limit_is_shown(failure, tmp_path):
    hot = dataclasses.replace(failure.motors[5], seconds_to_limit=240.0)
    found = dataclasses.replace(failure, motors=[*failure.motors[:5], hot])
    assert "take <b>gripper</b> to its limit of 70 °C in <b>4.0 min</b>" in write_report(found, tmp_path).read_text()


def test_a_limit_that_is_exceeded_within_an_episode_is_shown(failure, tmp_path):
    hot = dataclasses.replace(failure.motors[5], max_winding_c=71.5)
    found = dataclasses.replace(failure, motors=[*failure.motors[:5], hot])
    text = write_report(found, tmp_path).read_text()
    assert "Within an episode, <b>gripper</b> was at <b>71.5 °C</b>, above its limit of 70 °C." in text


def test_names_are_escaped_and_large_videos_are_linked(failure, tmp_path):
    (tmp_path / "seed-100000.mp4").write_bytes(bytes(5_000_000))
    found = dataclasses.replace(failure, policy="<b>x</b>", videos={100_000: "seed-100000.mp4"})
    page = write_report(found, tmp_path).read_text()
    assert "<h1>&lt;b&gt;x&lt;/b&gt; on lift</h1>" in page
    assert '<video src="seed-100000.mp4"' in page
