"""The review of recorded episodes: what a page receives, and what an operator changes."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import pytest
from websockets.sync.client import connect

from tests.collect.console.console_bench import requests, running
from tests.recordings import START_NS, Script, numbered_image
from waldo.collect.console.review import POINTS, EpisodeReview
from waldo.collect.console.review_routes import READERS
from waldo.datasets.dataset import Dataset
from waldo.datasets.edits import Subtask
from waldo.errors import WaldoError


@pytest.fixture
def dataset(record: Callable[..., Dataset]) -> Dataset:
    return record(Script(), Script(seconds=2.0, seed=1, outcome="failure"))


@pytest.fixture
def review(dataset: Dataset) -> EpisodeReview:
    return EpisodeReview(Path(str(dataset.path)))


def test_the_list_has_the_newest_episode_first_and_deleted_ones(review: EpisodeReview, dataset: Dataset) -> None:
    dataset.delete([1])
    assert [(one["episode"], one["outcome"], one["deleted"]) for one in review.recent()] == [
        (1, "failure", True),
        (0, "success", False),
    ]


def test_an_episode_has_its_cameras_labels_events_and_curves(review: EpisodeReview, dataset: Dataset) -> None:
    dataset.set_subtasks(1, [Subtask(start_s=1.5, text="lift"), Subtask(start_s=0.0, text="reach")])
    found = review.episode(1)
    assert (found["task"], found["outcome"], found["deleted"]) == ("lift the red cube", "failure", False)
    assert found["cameras"] == ["front", "wrist"]
    assert found["subtasks"] == [{"start_s": 0.0, "text": "reach"}, {"start_s": 1.5, "text": "lift"}]
    curves = found["curves"]
    assert [one["name"] for one in curves["series"]] == ["hip", "knee", "claw"]
    assert len(curves["time_s"]) == min(POINTS, 120)
    assert curves["series"][0]["values"][0] == pytest.approx(0.0, abs=1e-4)
    json.dumps(found, allow_nan=False)


@pytest.mark.parametrize(("at_s", "number"), [(-1.0, 0), (0.0, 0), (0.5, 15), (0.515, 15), (99.0, 29)])
def test_the_image_of_an_instant_is_the_newest_one_before_it(review: EpisodeReview, at_s: float, number: int) -> None:
    data = np.frombuffer(review.jpeg(0, "front", at_s), np.uint8)
    shown = cv2.imdecode(data, cv2.IMREAD_COLOR_RGB).astype(int)

    def difference(other: int) -> float:
        return float(np.abs(shown - numbered_image(other)).mean())

    assert min(range(30), key=difference) == number


@pytest.mark.parametrize("call", [("episode", 7), ("jpeg", 7, "front", 0.0), ("jpeg", 0, "side", 0.0)])
def test_what_does_not_exist_is_an_error(review: EpisodeReview, call: tuple[Any, ...]) -> None:
    with pytest.raises(WaldoError):
        getattr(review, call[0])(*call[1:])


def test_changes_are_edits_of_the_dataset(review: EpisodeReview, dataset: Dataset) -> None:
    assert review.edit(0, {"outcome": "failure"}) == "episode 0 is labeled failure"
    assert review.edit(0, {"task": "lift the blue cube"}) == "the instruction of episode 0 is lift the blue cube"
    assert review.edit(0, {"subtasks": [{"start_s": 0.25, "text": "grasp"}]}) == "episode 0 has 1 subtask"
    episode = dataset.episode(0)
    assert (episode.outcome, episode.task) == ("failure", "lift the blue cube")
    assert episode.subtasks == (Subtask(start_s=0.25, text="grasp"),)
    assert review.edit(0, {"deleted": True}) == "episode 0 is deleted; it can be restored"
    assert list(dataset.indices) == [1]
    assert review.edit(0, {"deleted": False}) == "episode 0 is restored"
    assert list(dataset.indices) == [0, 1]


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"outcome": "great"},
        {"outcome": None},
        {"task": "  "},
        {"task": "\ud800"},
        {"subtasks": [{"start_s": 0.0, "text": "\ud800"}]},
        {"deleted": "yes"},
        {"subtasks": [{"start_s": "soon", "text": "a"}]},
        {"subtasks": [{"start_s": -1.0, "text": "a"}]},
        {"subtasks": [{"start_s": float("nan"), "text": "a"}]},
        {"subtasks": [{"start_s": 0.0}]},
        {"subtasks": "all"},
        {"robot": "other"},
        {"outcome": "success", "task": "two at a time"},
    ],
)
def test_an_impossible_change_is_refused_and_nothing_changes(
    review: EpisodeReview, dataset: Dataset, change: dict[str, Any]
) -> None:
    with pytest.raises(WaldoError):
        review.edit(0, change)
    assert not (Path(str(dataset.path)) / "edits.jsonl").exists()


def test_pages_read_episodes_and_the_one_that_operates_changes_them(review: EpisodeReview, dataset: Dataset) -> None:
    with running(review=review) as console, httpx.Client(base_url=console.url) as client:
        assert [one["episode"] for one in client.get("/episodes").json()] == [1, 0]
        assert client.get("/episodes/0").json()["cameras"] == ["front", "wrist"]
        image = client.get("/episodes/0/image", params={"camera": "front", "at_s": "0.5"})
        assert (image.headers["content-type"], image.content[:2]) == ("image/jpeg", b"\xff\xd8")
        for path in ("/episodes/9", "/episodes/0/image?camera=side", "/episodes/0/image?camera=front&at_s=now"):
            assert client.get(path).status_code == 404
        assert client.get("/episodes/0/image?camera=front&at_s=nan").status_code == 404
        address = f"ws://127.0.0.1:{console.port}/session"
        with connect(address) as operator, connect(address) as watcher:
            change = {"kind": "edit", "episode": 0, "change": {"outcome": "unknown"}}
            watcher.send(json.dumps(change))
            assert wait_for(watcher, lambda state: state["replies"])["replies"] == [
                "only the page that operates changes episodes; take control first"
            ]
            operator.send(json.dumps(change))
            edited = wait_for(operator, lambda state: state["edits"])
            assert edited["notices"][-1]["text"] == "episode 0 is labeled unknown"
            operator.send(json.dumps(change | {"change": {"outcome": "great"}}))
            assert wait_for(operator, lambda state: state["replies"])["replies"][0].startswith(
                "the episode was not changed: outcome is 'great'"
            )
        assert dataset.episode(0).outcome == "unknown"


@pytest.mark.parametrize("index", ["-1", "x", "9" * 400, "9" * 5000, "\u0663", "1.0", "%00", "nan"])
def test_an_index_that_is_none_is_not_found(review: EpisodeReview, index: str) -> None:
    with running(review=review) as console, httpx.Client(base_url=console.url) as client:
        for path in (f"/episodes/{index}", f"/episodes/{index}/image?camera=front"):
            assert client.get(path).status_code == 404


def test_edits_that_cannot_be_read_are_reported(review: EpisodeReview, dataset: Dataset) -> None:
    (Path(str(dataset.path)) / "edits.jsonl").write_text("damaged\n")
    with running(review=review) as console, httpx.Client(base_url=console.url) as client:
        for path in ("/episodes", "/episodes/0", "/episodes/0/image?camera=front"):
            found = client.get(path)
            assert (found.status_code, "line 1 is damaged" in found.text) == (404, True)


@pytest.mark.parametrize("index", ["NaN", "Infinity", "1e300", "-1", "0.5", '"0"', "true", "null", "9" * 4000])
def test_an_edit_of_what_is_no_episode_leaves_the_page_open(
    review: EpisodeReview, dataset: Dataset, index: str
) -> None:
    with running(review=review) as console, connect(f"ws://127.0.0.1:{console.port}/session") as page:
        page.send(f'{{"kind": "edit", "episode": {index}, "change": {{"outcome": "unknown"}}}}')
        assert wait_for(page, lambda state: state["replies"])
    assert [episode.outcome for episode in dataset.episodes] == ["success", "failure"]


def test_a_change_that_cannot_be_stored_leaves_the_page_open(
    review: EpisodeReview, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("waldo.datasets.storage.jsonlines.append", full)
    with running(review=review) as console, connect(f"ws://127.0.0.1:{console.port}/session") as page:
        page.send('{"kind": "edit", "episode": 0, "change": {"outcome": "unknown"}}')
        (reply,) = wait_for(page, lambda state: state["replies"])["replies"]
        assert reply == "the episode was not changed: [Errno 28] No space left on device"


def test_a_page_that_reads_many_images_leaves_threads_for_the_cameras(
    review: EpisodeReview, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock, readers, most = threading.Lock(), 0, 0

    def jpeg(*_: object) -> bytes:
        nonlocal readers, most
        with lock:
            readers += 1
            most = max(most, readers)
        time.sleep(0.05)
        with lock:
            readers -= 1
        return b""

    monkeypatch.setattr(review, "jpeg", jpeg)
    with running(review=review) as console, ThreadPoolExecutor(20) as pool:
        address = f"{console.url}episodes/0/image?camera=front"
        found = list(pool.map(lambda _: httpx.get(address, timeout=60).status_code, range(40)))
    assert (set(found), most) == ({200}, READERS)


def test_a_change_that_takes_long_delays_no_stop(review: EpisodeReview, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page whose own connection for stops is lost sends them over this one."""
    begun, ended = threading.Event(), threading.Event()

    def edit(index: int, change: object) -> str:
        begun.set()
        assert ended.wait(60)
        return "edited"

    monkeypatch.setattr(review, "edit", edit)
    with running(review=review) as console, connect(f"ws://127.0.0.1:{console.port}/session") as page:
        page.send(json.dumps({"kind": "edit", "episode": 0, "change": {"outcome": "unknown"}}))
        assert begun.wait(60)
        page.send(json.dumps({"kind": "request", "name": "stop_motion"}))
        assert requests(console, 1) == ["stop_motion"]
        ended.set()
        assert wait_for(page, lambda state: state["edits"])["notices"][-1]["text"] == "edited"


def test_a_change_that_fails_unexpectedly_is_reported(review: EpisodeReview, monkeypatch: pytest.MonkeyPatch) -> None:
    def edit(index: int, change: object) -> str:
        raise ZeroDivisionError("of an edit")

    monkeypatch.setattr(review, "edit", edit)
    with running(review=review) as console, connect(f"ws://127.0.0.1:{console.port}/session") as page:
        page.send(json.dumps({"kind": "edit", "episode": 0, "change": {"outcome": "unknown"}}))
        replies = wait_for(page, lambda state: state["replies"])["replies"]
        assert "the episode was not changed: ZeroDivisionError('of an edit')" in str(replies)


def test_changes_are_made_in_their_order(review: EpisodeReview, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[object] = []

    def edit(index: int, change: dict[str, str]) -> str:
        time.sleep(0.2 if not made else 0.0)  # the first one takes longer than those after it
        made.append(change["task"])
        return "edited"

    monkeypatch.setattr(review, "edit", edit)
    with running(review=review) as console, connect(f"ws://127.0.0.1:{console.port}/session") as page:
        for task in "abc":
            page.send(json.dumps({"kind": "edit", "episode": 0, "change": {"task": task}}))
        wait_for(page, lambda state: state["edits"] == 3)
    assert made == ["a", "b", "c"]


def wait_for(page: Any, condition: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    while True:
        message = page.recv(timeout=60)
        if isinstance(message, str) and condition(state := json.loads(message)):
            return state


def test_marks_while_recording_are_subtasks(locked: Dataset, streams: Any, play: Callable[..., None]) -> None:
    writer = locked.begin(streams, {}, back_pressure="wait")
    play(writer, Script())
    writer.event("subtask", "reach", at_ns=START_NS - 5)
    writer.event("subtask", "lift", at_ns=START_NS + 500_000_000)
    writer.save("success")
    assert locked.episodes[0].subtasks == (Subtask(start_s=0.0, text="reach"), Subtask(start_s=0.5, text="lift"))
