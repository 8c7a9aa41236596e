"""Names of the policies that LeRobot can train, read from source files, since importing LeRobot takes seconds.

Third parties add policies with distributions whose name starts with `lerobot_policy_`, which LeRobot imports.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import re
import subprocess
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from waldo.errors import FileError, MissingExtraError, UnknownNameError

PLUGIN = "lerobot_policy_"
"""Start of the name of a distribution with policies, which is the name of its package as well."""

OWN_PLUGIN = "lerobot_policy_keypoint_vla"
"""The plug-in that is installed with waldo."""

REGISTERED = re.compile(r'PreTrainedConfig\.register_subclass\(\s*(?:name\s*=\s*)?["\']([\w.-]+)["\']')
"""The decorator that registers a policy under a name."""

QUERY = """
import importlib, json, sys
from waldo.train.large_import import large_import
failed = {}
with large_import():
    for name in sys.argv[1:]:
        try:
            importlib.import_module(name)
        except Exception as error:
            failed[name] = f"{type(error).__name__}: {error}"
    from lerobot.configs.policies import PreTrainedConfig
sys.stdout.write("\\n" + json.dumps([list(PreTrainedConfig.get_known_choices()), failed]))
"""


@cache
def policy_names() -> tuple[str, ...]:
    """Return the names of LeRobot's own policies, in alphabetical order.

    Raises:
        MissingExtraError: If LeRobot is not installed.
    """
    spec = importlib.util.find_spec("lerobot")
    if spec is None or spec.origin is None:
        raise MissingExtraError("lerobot", "train")
    return _registered(Path(spec.origin).parent.glob("policies/*/configuration_*.py"))


def plugin_packages() -> tuple[str, ...]:
    """Return the packages of third parties that LeRobot imports for their policies."""
    names = (str(one.metadata["Name"]) for one in importlib.metadata.distributions())
    return tuple(sorted({name for name in names if name.startswith(PLUGIN)}))


def plugin_names(package: str) -> tuple[str, ...]:
    """Return the names of the policies in a package; none if its source does not contain them."""
    try:
        spec = importlib.util.find_spec(package)
    except ModuleNotFoundError:  # the parent of a package such as `a.b`
        spec = None
    folders = [] if spec is None else spec.submodule_search_locations or []
    return _registered(path for folder in folders for path in Path(folder).rglob("*.py"))


def check_policy(name: str, packages: Iterable[str] = ()) -> None:
    """Raise an error unless LeRobot or a plug-in has the policy `name`.

    Args:
        name: Name of the policy.
        packages: Further packages that the user lets LeRobot import (`--policy.discover_packages_path`).

    Raises:
        UnknownNameError: If there is no such policy; the message suggests the closest match.
        FileError: If a plug-in, which may have it, cannot be imported.
    """
    plugins = (*plugin_packages(), *packages)
    known = {*policy_names(), *(found for package in plugins for found in plugin_names(package))}
    if name in known:
        return
    # A plug-in of a third party may register names that its source does not spell out.
    if others := tuple(package for package in plugins if package != OWN_PLUGIN):
        registered, failed = _query_lerobot(others)
        if name in registered:
            return
        for package, reason in failed.items():
            raise FileError(package, f"cannot be imported ({reason})", f"fix it if it has the policy {name!r}")
        known |= registered
    raise UnknownNameError("policy", name, known)


def _registered(paths: Iterable[Path]) -> tuple[str, ...]:
    """Return the names that source files register."""
    return tuple(sorted({name for path in paths for name in REGISTERED.findall(path.read_text(errors="replace"))}))


def _query_lerobot(packages: tuple[str, ...]) -> tuple[set[str], dict[str, str]]:
    """Import packages as LeRobot does, in another process; return all registered names and what failed, by package."""
    command = [sys.executable, "-c", QUERY, *packages]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no output"]
        return set(), {", ".join(packages): lines[-1]}
    names, failed = json.loads(done.stdout.splitlines()[-1])
    return set(names), failed
