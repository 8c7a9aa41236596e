"""JUnit XML, read back by junitparser: suites, figures, problems, and text that XML does not allow."""

from pathlib import Path
from xml.etree import ElementTree

import pytest
from junitparser import Error, Failure, JUnitXml, Skipped, TestCase, TestSuite

from waldo.sim.evaluation.gates import Gate, check_gates
from waldo.sim.evaluation.junit import episode_cases, error_case, gate_cases, write_junit

COUNTS = ("tests", "failures", "errors", "skipped", "time")


class Properties(TestCase):
    """A test case with properties, which junitparser reads for suites only."""

    @property
    def figures(self) -> dict[str, str]:
        found = self._elem.iterfind("properties/property")
        return {one.get("name", ""): one.get("value", "") for one in found}


def suites(path: Path) -> dict[str, TestSuite]:
    document = JUnitXml.fromfile(str(path))
    return {str(suite.name): suite for suite in document}


def test_gates_and_episodes_are_test_cases_with_figures(tmp_path: Path) -> None:
    values = {"success": 0.5, "success_lower": 0.1}
    gates = check_gates([Gate("success", 0.5), Gate("success_lower", 0.2)], values, {"gripper": 60.5}, 70)
    path = tmp_path / "junit.xml"
    episodes = episode_cases([7, 8], [True, False], [2.25, 20.0])
    write_junit(path, "eval.lift", {"gates": gate_cases(gates), "episodes": episodes}, values)
    found = suites(path)
    assert list(found) == ["eval.lift.gates", "eval.lift.episodes"]
    gate_suite, episode_suite = found.values()
    assert (gate_suite.tests, gate_suite.failures, gate_suite.errors, gate_suite.skipped) == (3, 1, 0, 0)
    assert (episode_suite.tests, episode_suite.failures, episode_suite.skipped) == (2, 0, 1)
    figures = {one.name: one.value for one in gate_suite.properties()}
    assert (figures["success"], figures["success_lower"]) == ("0.5", "0.1")
    passed, failed, winding = [Properties.fromelem(case._elem) for case in gate_suite]
    assert (passed.name, passed.result) == ("success", [])
    (failure,) = failed.result
    assert isinstance(failure, Failure)
    assert failure.message == "success_lower is 0.100, required at least 0.2"
    assert failed.figures == {"value": "0.1", "minimum": "0.2"}
    assert winding.figures == {"value": "60.5", "maximum": "70"}
    reached, missed = [Properties.fromelem(case._elem) for case in episode_suite]
    assert (reached.name, reached.classname, reached.time) == ("seed 7", "eval.lift.episodes", 2.25)
    assert reached.figures == {"seed": "7", "success": "true", "seconds": "2.25"}
    (skipped,) = missed.result
    assert isinstance(skipped, Skipped)
    assert skipped.message == "the goal was not reached within 20.0 s"
    # junitparser counts by itself; others take the counts from the file.
    root = ElementTree.parse(path).getroot()
    counts = [[element.get(key) for key in COUNTS] for element in (root, *root.iterfind("testsuite"))]
    assert counts == [
        ["5", "1", "0", None, "22.250"],
        ["3", "1", "0", "0", "0.000"],
        ["2", "0", "0", "1", "22.250"],
    ]


def test_a_run_that_fails_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "junit.xml"
    write_junit(path, "eval.lift", {"run": [error_case(ValueError("a\nb")), error_case(KeyboardInterrupt())]})
    (suite,) = suites(path).values()
    assert (suite.errors, suite.failures) == (2, 0)
    errors = [case.result[0] for case in suite]
    assert all(isinstance(one, Error) for one in errors)
    assert [one.message for one in errors] == ["ValueError: a b", "interrupted"]


@pytest.mark.parametrize("text", ["a\0b", "<&\"'>", "\ud800", "日本 °C", "]]>"])
def test_any_text_is_written_as_valid_xml(tmp_path: Path, text: str) -> None:
    path = tmp_path / "junit.xml"
    write_junit(path, text, {"run": [error_case(ValueError(text))]}, {text: text})
    name = ElementTree.parse(path).getroot().get("name")
    assert name == text.replace("\0", "?").replace("\ud800", "?")


def test_without_gates_there_is_no_suite_of_gates(tmp_path: Path) -> None:
    path = tmp_path / "junit.xml"
    write_junit(path, "eval.lift", {"gates": [], "episodes": episode_cases([1], [True], [1.0])})
    assert list(suites(path)) == ["eval.lift.episodes"]
