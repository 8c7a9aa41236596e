"""Damaged files of options give one line each."""

from __future__ import annotations

from pathlib import Path

from tests.damaged_files import check_parser
from waldo.cli.formats import Export
from waldo.cli.robot import RobotCommand
from waldo.cli.support.config import load_defaults


def test_options_of_a_command(tmp_path: Path) -> None:
    valid = {"rows": {"fps": 30}, "selection": {"outcome": ["success"]}}
    messages = check_parser(tmp_path, valid, lambda path: load_defaults(Export, path) and None)
    assert {"deep lists", "fifo", "directory", "endless", "missing", "huge", "yaml tag", "latin-1"} <= messages.keys()
    assert {"('rows',) = -1", "('rows', 'fps') = []", "('selection', 'outcome') = -1"} <= messages.keys()


def test_options_that_depend_on_the_file(tmp_path: Path) -> None:
    """The options of `waldo robot` depend on the driver that the file selects."""
    messages = check_parser(tmp_path, {}, lambda path: RobotCommand.for_arguments(["so101"], path) and None)
    assert messages == {}, "a damaged file is reported when it is loaded"
