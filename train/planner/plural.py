"""Plurals of English nouns."""

from __future__ import annotations

IRREGULAR = {"knife": "knives", "loaf": "loaves", "scissors": "scissors", "pliers": "pliers", "tongs": "tongs"}
"""Noun -> plural that the rules do not produce."""


def plural(noun: str) -> str:
    """Return the plural of a noun."""
    if noun in IRREGULAR:
        return IRREGULAR[noun]
    if noun.endswith(("s", "x", "ch", "sh")):
        return noun + "es"
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return noun[:-1] + "ies"
    return noun + "s"
