"""Templates, scripts and styles of the pages, and the policy that lets a page run its own script only."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

FOLDER = Path(__file__).parent


def asset(name: str) -> str:
    """Return the text of a file in this folder."""
    return (FOLDER / name).read_text()


def content_policy(script: str, style: str, *sources: str) -> str:
    """Return a Content-Security-Policy that allows one inline script, one inline style and nothing else.

    Args:
        script: Text of the inline script.
        style: Text of the inline style.
        sources: Further directives, such as "media-src blob:".
    """
    own = (f"script-src '{source_hash(script)}'", f"style-src '{source_hash(style)}'")
    return "; ".join(("default-src 'none'", *own, *sources, "img-src data:", "base-uri 'none'", "form-action 'none'"))


def source_hash(text: str) -> str:
    """Return the source expression that allows an inline script or style (CSP level 2, hash-source)."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
