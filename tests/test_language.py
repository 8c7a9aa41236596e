"""Names, messages, comments and documentation use the field's terms: words that the glossary replaces do not occur."""

from __future__ import annotations

import ast
import re
import subprocess
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

REPLACED = {
    r"says?|said|tells?|told|hears?|heard": "reports, logs, returns, receives, is called with",
    r"anew": "again",
    r"for ever": "indefinitely, continuously",
    r"whoever": "any process that",
    r"nobody|somebody|anybody|everybody": "no one, a person, an operator",
    r"mends?|mended|mending": "fix; repair (data)",
    r"is no (?!longer|more|less|later|earlier|match)": "is not a",
    r"(?<!group of )(?<!groups of )(?<!group_of_)pictures?": "image; frame (in a stream)",
    r"makers?(?!space)": "manufacturer, datasheet",
    r"goes on|go on|went on|going on": "continues",
    r"limp": "torque disabled",
    r"gives? way|give_way|goes? along|go_along": "follows the measured position",
    r"absurd|overrun": "implausible, limit exceeded",
    r"hottest": "maximum winding temperature",
    r"(?:a|the) share of|its share|share_of": "a fraction, a ratio",
    r"there again|is gone|are gone": "reconnected, unavailable",
    r"the light": "exposure time",
    r"licences?": "license",
    r"colours?|coloured|grey|behaviours?|metres?|millimetres?|centre[ds]?|neighbours?|catalogues?|artefacts?|"
    r"(?:normal|initial|serial|random|optim|recogn|organ|synchron)is(?:e|es|ed|er|ers|ing|ation|ations)|"
    r"(?:re)?labell(?:ed|ing)|travell(?:ed|ing)|cancell(?:ed|ing)": "American spelling",
}
"""Pattern -> what to write instead."""

PATTERN = re.compile(
    "|".join(rf"(?P<p{i}>(?<![A-Za-z])(?:{words})(?![A-Za-z]))" for i, words in enumerate(REPLACED)), re.IGNORECASE
)

ALLOWED = re.compile(r"newton_metres|RMW_\w+|cv2\.\w+|COLOR_|blue grey|H\.264 pictures|hottest_c|MAX_WINDING_0_1")
"""Names that other projects and existing files spell so."""

BANNED_NAMES = {"told", "said", "meant", "what", "those", "thing", "things"}
"""Identifiers that name nothing."""

SELF = {"tests/test_language.py", "LICENSE", "CHANGELOG.md"}
"""Files that list replaced words and former names."""

VOCABULARY = {"train/planner/words.py", "train/planner/training/references.py"}
"""Data files with the English that the toy planner understands."""


def _files(*suffixes: str) -> list[str]:
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    return [
        name for name in listed if name.endswith(suffixes) and name not in SELF | VOCABULARY and (ROOT / name).is_file()
    ]


def _rooms(*suffixes: str) -> dict[str, list[str]]:
    """Return the files of each top-level folder; those of the root are in "."."""
    rooms: dict[str, list[str]] = defaultdict(list)
    for name in _files(*suffixes):
        rooms[name.partition("/")[0] if "/" in name else "."].append(name)
    return rooms


TEXTS = _rooms(".py", ".md", ".html", ".js", ".css", ".toml", ".yaml", ".yml", ".sh")
CODE = _rooms(".py")


@pytest.mark.parametrize("room", TEXTS)
def test_replaced_words_do_not_occur(room: str) -> None:
    found: list[str] = []
    for name in TEXTS[room]:
        for number, line in enumerate((ROOT / name).read_text().splitlines(), 1):
            for match in PATTERN.finditer(ALLOWED.sub("", line)):
                instead = list(REPLACED.values())[int(str(match.lastgroup)[1:])]
                found.append(f"{name}:{number}: {match[0]!r} (write: {instead}): {line.strip()[:120]}")
    assert not found, "\n".join(found)


@pytest.mark.parametrize("room", CODE)
def test_identifiers_are_nouns_of_the_field(room: str) -> None:
    found: list[str] = []
    for name in CODE[room]:
        for node in ast.walk(ast.parse((ROOT / name).read_text())):
            identifier = getattr(node, "id" if isinstance(node, ast.Name) else "arg", None)
            if isinstance(node, ast.Name | ast.arg) and identifier in BANNED_NAMES:
                found.append(f"{name}:{node.lineno}: {identifier}")
    assert not found, "\n".join(found)
