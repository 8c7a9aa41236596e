"""JUnit XML of an evaluation, which CI systems show as test results.

The suite `gates` has one test case per gate; it fails if the gate did. The suite `episodes` has one test case per seed.
Whether an episode reaches its goal decides nothing by itself, so one that does not is skipped rather than failed: the
file contains a failure if and only if `waldo eval` exits with 1. A run that fails has one test case with an error.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from xml.etree import ElementTree

from waldo import __version__
from waldo.files import write_atomic
from waldo.sim.evaluation.gates import GateResult

ILLEGAL = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 does not allow, in escaped form either."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One test case; passed unless it has a problem."""

    name: str
    """Name of the test case."""
    seconds: float = 0.0
    """Duration [s]."""
    properties: Mapping[str, object] = field(default_factory=lambda: dict[str, object]())
    """Figures by name."""
    problem: Literal["failure", "error", "skipped"] | None = None
    """Why it did not pass."""
    message: str = ""
    """The problem in words."""


def gate_cases(results: Sequence[GateResult]) -> list[Case]:
    """Return one test case for each gate."""
    return [
        Case(
            name=one.name,
            properties={
                key: value
                for key, value in (("value", one.value), ("minimum", one.minimum), ("maximum", one.maximum))
                if value is not None
            },
            problem=None if one.passed else "failure",
            message=one.text,
        )
        for one in results
    ]


def episode_cases(seeds: Sequence[int], success: Sequence[bool], seconds: Sequence[float]) -> list[Case]:
    """Return one test case for each episode."""
    return [
        Case(
            name=f"seed {seed}",
            seconds=duration,
            properties={"seed": seed, "success": str(reached).lower(), "seconds": duration},
            problem=None if reached else "skipped",
            message=f"the goal was not reached within {duration:.1f} s",
        )
        for seed, reached, duration in zip(seeds, success, seconds, strict=True)
    ]


def error_case(error: BaseException) -> Case:
    """Return the test case of a run that an exception ended."""
    text = "interrupted" if isinstance(error, KeyboardInterrupt) else f"{type(error).__name__}: {error}"
    return Case(name="run", problem="error", message=" ".join(text.split()))


def write_junit(
    path: Path, name: str, suites: Mapping[str, Sequence[Case]], properties: Mapping[str, object] | None = None
) -> None:
    """Write a JUnit XML file atomically.

    Args:
        path: The file.
        name: Name of the evaluation; test cases have the class `name.suite`.
        suites: Test cases by suite; an empty suite is left out.
        properties: Figures of the whole evaluation, which every suite repeats.
    """
    root = ElementTree.Element("testsuites", name=_legal(name))
    for suite, cases in suites.items():
        if cases:
            _append_suite(root, name, suite, cases, {"waldo": __version__, **(properties or {})})
    _set_counts(root, [case for cases in suites.values() for case in cases], with_skipped=False)
    ElementTree.indent(root)
    write_atomic(path, ElementTree.tostring(root, encoding="utf-8", xml_declaration=True) + b"\n")


def _append_suite(
    root: ElementTree.Element, name: str, suite: str, cases: Sequence[Case], properties: Mapping[str, object]
) -> None:
    element = ElementTree.SubElement(root, "testsuite", name=_legal(f"{name}.{suite}"))
    _set_counts(element, cases)
    _append_properties(element, properties)
    for case in cases:
        child = ElementTree.SubElement(
            element,
            "testcase",
            classname=_legal(f"{name}.{suite}"),
            name=_legal(case.name),
            time=f"{case.seconds:.3f}",
        )
        _append_properties(child, case.properties)
        if case.problem is not None:
            found = ElementTree.SubElement(child, case.problem, message=_legal(case.message))
            if case.problem != "skipped":
                found.text = _legal(case.message)


def _set_counts(element: ElementTree.Element, cases: Sequence[Case], *, with_skipped: bool = True) -> None:
    element.set("tests", str(len(cases)))
    element.set("failures", str(sum(case.problem == "failure" for case in cases)))
    element.set("errors", str(sum(case.problem == "error" for case in cases)))
    if with_skipped:
        element.set("skipped", str(sum(case.problem == "skipped" for case in cases)))
    element.set("time", f"{sum(case.seconds for case in cases):.3f}")


def _append_properties(element: ElementTree.Element, properties: Mapping[str, object]) -> None:
    if properties:
        group = ElementTree.SubElement(element, "properties")
        for name, value in properties.items():
            ElementTree.SubElement(group, "property", name=_legal(name), value=_legal(str(value)))


def _legal(text: str) -> str:
    """Return text without the characters that XML does not allow."""
    return ILLEGAL.sub("?", text)
