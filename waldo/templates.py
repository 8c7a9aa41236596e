"""Jinja2 templates of pages and documents, stored beside the modules that render them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Template


def load_template(path: Path, filters: Mapping[str, Callable[..., Any]] | None = None) -> Template:
    """Return a template; values are escaped in `.html` files, and an undefined variable is an error.

    Args:
        path: File of the template.
        filters: Filters beside Jinja2's own.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(path.parent),
        autoescape=path.suffix == ".html",
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(filters or {})
    environment.policies["json.dumps_kwargs"] = {"ensure_ascii": False, "allow_nan": False}
    return environment.get_template(path.name)
