"""The recorded episodes over HTTP, for the page's review: a list, one episode, and an image of it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from waldo.errors import WaldoError

if TYPE_CHECKING:
    from starlette.requests import Request

    from waldo.collect.console.review import EpisodeReview


def review_routes(review: EpisodeReview) -> list[Route]:
    """Return the routes `/episodes`, `/episodes/INDEX` and `/episodes/INDEX/image?camera=NAME&at_s=SECONDS`."""

    async def listed(_: Request) -> Response:
        return JSONResponse(await asyncio.to_thread(review.recent))

    async def episode(request: Request) -> Response:
        try:
            return JSONResponse(await asyncio.to_thread(review.episode, int(request.path_params["index"])))
        except WaldoError as error:
            return PlainTextResponse(f"{error}\n", 404)

    async def image(request: Request) -> Response:
        index, camera = int(request.path_params["index"]), request.query_params.get("camera", "")
        try:
            at_s = float(request.query_params.get("at_s", "0"))
            data = await asyncio.to_thread(review.jpeg, index, camera, at_s)
        except (WaldoError, ValueError) as error:
            return PlainTextResponse(f"{error}\n", 404)
        return Response(data, media_type="image/jpeg")

    return [
        Route("/episodes", listed),
        Route("/episodes/{index:int}", episode),
        Route("/episodes/{index:int}/image", image),
    ]
