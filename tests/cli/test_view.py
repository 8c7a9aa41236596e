import pytest

from waldo.cli.main import main


def test_the_page_shows_the_last_episode_by_default(record, script, tmp_path, capsys) -> None:
    dataset = record(script(task="first"), script(task="second"))
    assert main(["view", str(dataset.path), "--html", str(tmp_path / "page.html")]) == 0
    assert "opens in any browser" in capsys.readouterr().out
    assert "<title>episode 1 · second · waldo</title>" in (tmp_path / "page.html").read_text()


@pytest.mark.parametrize("words", [["dataset", "0"], ["dataset/episode_000000.zarr"]])
def test_an_episode_is_selected_by_index_or_path(record, script, tmp_path, words) -> None:
    record(script(task="first"), script(task="second"))
    page = tmp_path / "page.html"
    assert main(["view", str(tmp_path / words[0]), *words[1:], "--html", str(page)]) == 0
    assert "<title>episode 0 · first · waldo</title>" in page.read_text()


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["7", "--web"], "the dataset has no episode 7; see: waldo list"),
        (["--html", "a", "--web"], "--html and --web cannot be combined; choose one of --html, --save and --web"),
        (["--html", "a", "--max-height", "3"], "--max-height is 3, expected 0, or 16 pixels or more"),
        ([], "no display to open Rerun's viewer on; write a page with --html FILE"),
    ],
)
def test_impossible_views_are_refused(record, script, capsys, monkeypatch, words, text) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    assert main(["view", str(record(script()).path), *words]) == 2
    assert text in capsys.readouterr().err


def test_a_large_page_causes_a_warning(record, script, tmp_path, capsys, monkeypatch) -> None:
    from waldo.datasets.view import page

    monkeypatch.setattr(page, "LARGE_BYTES", 1000)
    assert main(["view", str(record(script()).path), "--html", str(tmp_path / "page.html")]) == 0
    assert "reduce it with --max-height 240" in " ".join(capsys.readouterr().err.split())
