"""The files of a page, which are in the folder `page` of its package."""

from __future__ import annotations

import html
import importlib.resources


def page_file(package: str, name: str) -> str:
    """Return a file of the page of a package, such as "style.css"."""
    return importlib.resources.files(package).joinpath("page", name).read_text("utf-8")


def login_page(package: str, message: str) -> str:
    """Return the login form of a package with a message, which is empty at first."""
    return page_file(package, "login.html").replace("{message}", html.escape(message))
