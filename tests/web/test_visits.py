"""Requests of a revoked browser are cut at once."""

from __future__ import annotations

import asyncio
from typing import Any

from waldo.web.roles import Role, Visitor
from waldo.web.visits import REVOKED, VISITOR, Visits

QUEST = Visitor(role=Role.OPERATE, browser="quest")


def run(kind: str, started: dict[str, Any] | None, cut: str) -> list[dict[str, Any]]:
    """Return what is sent by a request that never ends and is cut after its start."""
    sent: list[dict[str, Any]] = []

    async def test() -> None:
        waiting = asyncio.Event()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            assert scope[VISITOR] == QUEST
            if started:
                await send(started)
            waiting.set()
            await asyncio.Event().wait()

        async def send(message: Any) -> None:
            sent.append(message)

        async def receive() -> Any:
            return {}

        visits = Visits(app)
        task = asyncio.create_task(visits.run(QUEST, {"type": kind}, receive, send))
        await waiting.wait()
        assert visits.browsers() == {"quest"}
        visits.cut("another")
        await asyncio.sleep(0)
        assert not task.done()
        visits.cut(cut)
        await task
        assert visits.browsers() == set()

    asyncio.run(test())
    return sent


def test_a_websocket_is_closed() -> None:
    sent = run("websocket", {"type": "websocket.accept"}, "quest")
    assert [one["type"] for one in sent] == ["websocket.accept", "websocket.close"]
    assert sent[1]["code"] == REVOKED


def test_a_stream_ends() -> None:
    sent = run("http", {"type": "http.response.start", "status": 200, "headers": []}, "quest")
    assert sent[1:] == [{"type": "http.response.body", "body": b"", "more_body": False}]


def test_a_request_that_is_not_answered_yet_is_refused() -> None:
    sent = run("http", None, "quest")
    assert [one.get("status") for one in sent] == [401, None]


def test_an_error_of_the_application_is_raised() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise ValueError("a bug")

    async def nothing(message: Any = None) -> Any: ...

    async def test() -> str:
        try:
            await Visits(app).run(QUEST, {"type": "http"}, nothing, nothing)
        except ValueError as error:
            return str(error)
        return ""

    assert asyncio.run(test()) == "a bug"
