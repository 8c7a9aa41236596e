"""Figures in the documentation that are constants of the code.

A figure is followed by a comment that names its constant, which Markdown does not show:

    a winding comes within 2 K<!-- waldo.robots.control.safety:SafetyConfig.heat_margin_k --> of its limit

`python tools/figures.py` rewrites every figure; `tests/test_docs.py` fails if one differs from the code.
"""

from __future__ import annotations

import dataclasses
import importlib
import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
FIGURE = re.compile(
    r"(?P<number>-?[\d,]+(?:\.\d+)?)(?P<unit>[^\d<|]*)(?P<comment><!-- (?P<module>waldo[\w.]*):(?P<name>[\w.]+) -->)"
)


def pages() -> list[Path]:
    """Return the README, the other pages at the root and all pages of the site."""
    return [*ROOT.glob("*.md"), *sorted((ROOT / "docs").rglob("*.md"))]


def constant(module: str, name: str) -> Any:
    """Return a constant, or the default of a dataclass's field, as in `SafetyConfig.heat_margin_k`."""
    found: Any = importlib.import_module(module)
    for part in name.split("."):
        if dataclasses.is_dataclass(found) and isinstance(found, type):
            field = {field.name: field for field in dataclasses.fields(found)}[part]
            found = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
        else:
            found = getattr(found, part)
    return found


def current(match: re.Match[str]) -> str:
    """Return a figure with the value that the code has."""
    value = f"{constant(match['module'], match['name']):g}"
    return f"{value}{match['unit']}{match['comment']}"


def stale(text: str) -> list[str]:
    """Return each figure of a page that differs from the code, and its value there."""
    return [
        f"{match['number']}{match['unit']} should be {found} ({match['module']}:{match['name']})"
        for match in FIGURE.finditer(text)
        if float((found := current(match)).removesuffix(match["comment"]).removesuffix(match["unit"]))
        != float(match["number"].replace(",", ""))
    ]


def main() -> int:
    """Rewrite the figures of all pages."""
    for path in pages():
        text = path.read_text()
        fixed = FIGURE.sub(current, text) if stale(text) else text
        if fixed != text:
            path.write_text(fixed)
            sys.stdout.write(f"{path.relative_to(ROOT)}: figures updated\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
