"""Detection of changes in status texts, so that each change is logged once."""

from __future__ import annotations

import re

FIGURES = re.compile(r"(?<![\w.-])-?\d+(\.\d+)?(?![\w.]*\w)")
"""Numbers that stand alone; a digit in a joint's name is not one."""


class ChangeFilter:
    """Detects changes of texts by key. A text that differs in its figures only has not changed."""

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}

    def changed(self, key: str, text: str) -> bool:
        """Return whether the text differs from the last one of this key; an empty text before the first one."""
        kind = FIGURES.sub("", text)
        changed = self._texts.get(key, "") != kind
        self._texts[key] = kind
        return changed
