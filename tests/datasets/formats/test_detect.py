from importlib.metadata import EntryPoint

import pytest

from waldo import registry
from waldo.datasets.formats.detect import detect, import_formats, open_source
from waldo.datasets.formats.format import GROUP, Format
from waldo.datasets.formats.source import ImportConfig
from waldo.errors import FileError, UnknownNameError, UnsupportedOptionError

OWN = Format(
    name="my-format",
    title="a third-party format",
    marker="a .mine file",
    detect=lambda path: path.suffix == ".mine",
    open_source=lambda path, config: (path, config),  # type: ignore[arg-type,return-value]
    import_options=("color_order",),
)
"""A format of another package."""


@pytest.fixture
def own_format(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = EntryPoint("my_format", f"{__name__}:OWN", GROUP)
    monkeypatch.setattr(EntryPoint, "load", _load(EntryPoint.load))
    monkeypatch.setitem(registry.entries(GROUP), "my_format", entry)


def _load(original):
    """Return the object of this module, which pytest imports under a name of its own, and load others as usual."""
    return lambda entry: OWN if entry.name == "my_format" else original(entry)


def test_the_formats_that_can_be_imported():
    assert {"lerobot", "replay-buffer", "robomimic", "aloha", "rosbag2"} <= set(import_formats())
    assert "umi" not in import_formats()


@pytest.mark.usefixtures("own_format")
def test_a_format_of_another_package_is_detected_and_opened(tmp_path):
    path = tmp_path / "a.mine"
    path.touch()
    assert detect(path) is OWN
    config = ImportConfig(map=("a=b",), color_order="bgr")
    assert open_source(path, config) == (path, config)
    assert open_source(path, config, "my_format") == (path, config)
    with pytest.raises(UnsupportedOptionError) as error:
        open_source(path, ImportConfig(fps=9.0))
    assert str(error.value).startswith("--fps is not supported with --format my-format (supported: ")


@pytest.mark.usefixtures("own_format")
def test_the_error_lists_what_was_looked_for(tmp_path):
    with pytest.raises(FileError) as error:
        detect(tmp_path)
    assert "; my-format: a .mine file" in str(error.value)


def test_a_format_that_is_only_exported_is_refused(tmp_path):
    with pytest.raises(UnknownNameError, match="unknown import format 'umi'"):
        open_source(tmp_path, ImportConfig(), "umi")
