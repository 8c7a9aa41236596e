"""The files of a page, which are in the folder `page` of its package."""

from __future__ import annotations

import html
import importlib.resources


def page_file(package: str, name: str) -> str:
    """Return a file of the page of a package, such as "style.css"."""
    return importlib.resources.files(package).joinpath("page", name).read_text("utf-8")


def login_page(title: str, command: str, message: str, *, pin: bool = False, token: bool = True) -> str:
    """Return the login form, whose colors are those of the application's `style.css`.

    Args:
        title: Name of the application, such as "console".
        command: The command that serves it.
        message: Why the last login was refused; empty at first.
        pin: Whether browsers are paired by a PIN.
        token: Whether there is a token.
    """
    text = page_file("waldo.web", "login.html").replace("{title}", title).replace("{command}", command)
    text = text.replace("{pin}", "" if pin else "hidden").replace("{token}", "" if token else "hidden")
    return text.replace("{message}", html.escape(message))
