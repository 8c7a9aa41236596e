"""The recorded episodes over HTTP, for the page's review: a list, one episode, and an image of it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from waldo.collect.console.review import MAX_INDEX
from waldo.errors import InvalidValueError, WaldoError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request

    from waldo.collect.console.review import EpisodeReview


READERS = 2
"""Number of requests that read episodes at a time."""


def review_routes(review: EpisodeReview) -> list[Route]:
    """Return the routes `/episodes`, `/episodes/INDEX` and `/episodes/INDEX/image?camera=NAME&at_s=SECONDS`."""
    # All pages share the server's threads, which their cameras' images need too.
    reading = asyncio.Semaphore(READERS)

    async def listed(_: Request) -> Response:
        return JSONResponse(await asyncio.to_thread(review.recent))

    async def episode(request: Request) -> Response:
        return JSONResponse(await asyncio.to_thread(review.episode, _index_of(request)))

    async def image(request: Request) -> Response:
        index, camera = _index_of(request), request.query_params.get("camera", "")
        try:
            at_s = float(request.query_params.get("at_s", "0"))
        except ValueError:
            raise InvalidValueError("at_s", request.query_params["at_s"], "a time [s]") from None
        return Response(await asyncio.to_thread(review.jpeg, index, camera, at_s), media_type="image/jpeg")

    return [
        Route("/episodes", _answered(listed, reading)),
        Route("/episodes/{index}", _answered(episode, reading)),
        Route("/episodes/{index}/image", _answered(image, reading)),
    ]


def _answered(
    respond: Callable[[Request], Awaitable[Response]], reading: asyncio.Semaphore
) -> Callable[[Request], Awaitable[Response]]:
    """Return a function that waits for a place among the readers, and responds with the text of an error."""

    async def answer(request: Request) -> Response:
        try:
            async with reading:
                return await respond(request)
        except (WaldoError, OSError) as error:
            return PlainTextResponse(f"{error}\n", 404)

    return answer


def _index_of(request: Request) -> int:
    text: str = request.path_params["index"]
    if not (text.isascii() and text.isdecimal() and len(text) <= len(str(MAX_INDEX))):
        raise InvalidValueError("episode index", text[:40], f"0 to {MAX_INDEX}")
    return int(text)
