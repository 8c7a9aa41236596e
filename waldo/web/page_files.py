"""The files of a page, which are in the folder `page` of its package."""

from __future__ import annotations

import html
import importlib.resources


def page_file(package: str, name: str) -> str:
    """Return a file of the page of a package, such as "style.css"."""
    return importlib.resources.files(package).joinpath("page", name).read_text("utf-8")


def login_page(package: str, message: str, *, pin: bool = False, token: bool = True) -> str:
    """Return the login form of a package.

    Args:
        package: The package, whose file `login.html` has a form for the PIN and one for the token.
        message: Why the last login was refused; empty at first.
        pin: Whether browsers are paired by a PIN.
        token: Whether there is a token.
    """
    text = page_file(package, "login.html").replace("{message}", html.escape(message))
    return text.replace("{pin}", "" if pin else "hidden").replace("{token}", "" if token else "hidden")
