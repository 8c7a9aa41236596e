"""A clock that cameras read: milliseconds as black and white cells between four ArUco markers.

The board is 20 x 10 units. A marker (ArUco dictionary 4x4_50, ids 0 to 3) of 3 x 3 units stands in each corner; the
4 x 4 cells of 2 x 2 units between them are the bits of a counter of 10 ms, the first bit at the upper left. The counter
is in Gray's code: from one value to the next a single cell changes, so a picture that was exposed while it changed
reads as one of the two. Sixteen bits last 655 s, far longer than any latency: which round it is, the stamp tells.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

TICK_NS = 10_000_000
"""What the counter counts [ns]."""

BITS = 16
"""Cells."""

ROUND_NS = TICK_NS << BITS
"""After this the counter begins again [ns]."""

WIDTH, HEIGHT = 20, 10
"""The board [units]."""

MARKERS = ((1, 1), (16, 1), (1, 6), (16, 6))
"""Upper left corner of each marker, by id [units]."""

MARKER = 3
"""Side of a marker [units]."""

CELL_X, CELL_Y, CELL, COLUMNS = 6, 1, 2, 4
"""Upper left corner of the first cell, side of a cell [units], cells a row."""

PIXELS = 12
"""Pixels a unit of the straightened picture."""

DOUBT = (0.35, 0.65)
"""A cell between these shares of black and white was changing, or is none."""

MOST_DOUBTFUL = 2
"""Most cells that may be in doubt: more are not a clock that was caught while it changed."""


def gray(value: int) -> int:
    """Return a number in Gray's code."""
    return value ^ (value >> 1)


def ungray(code: int) -> int:
    """Return the number that a Gray code stands for."""
    shift = 1
    while shift < BITS:
        code ^= code >> shift
        shift <<= 1
    return code


def cells(epoch_ns: int) -> list[bool]:
    """Return which cells are black at an instant [ns since the epoch], the most significant first."""
    code = gray(round(epoch_ns / TICK_NS) % (1 << BITS))
    return [bool(code >> place & 1) for place in reversed(range(BITS))]


def marker(number: int) -> NDArray[np.uint8]:
    """Return a marker's 6 x 6 modules, 0 black and 255 white."""
    return np.asarray(cv2.aruco.generateImageMarker(_dictionary(), number, 6), np.uint8)


def draw(epoch_ns: int, scale: int = 20) -> NDArray[np.uint8]:
    """Return the board at an instant [ns since the epoch], uint8 (10 * scale, 20 * scale), as the page shows it."""
    out = np.full((HEIGHT * scale, WIDTH * scale), 255, np.uint8)
    for number, (x, y) in enumerate(MARKERS):
        side = (MARKER * scale, MARKER * scale)
        tile = cv2.resize(marker(number), side, interpolation=cv2.INTER_NEAREST)
        out[y * scale : (y + MARKER) * scale, x * scale : (x + MARKER) * scale] = tile
    for place, black in enumerate(cells(epoch_ns)):
        x, y = CELL_X + CELL * (place % COLUMNS), CELL_Y + CELL * (place // COLUMNS)
        if black:
            out[y * scale : (y + CELL) * scale, x * scale : (x + CELL) * scale] = 0
    return out


def read(rgb: NDArray[np.uint8], near_ns: int) -> int | None:
    """Return the instant that the clock in a picture, uint8 (H, W, 3), shows [ns since the epoch]; None if unreadable.

    `near_ns` is the picture's stamp: the instant nearest to it is meant.
    """
    grey = np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), np.uint8)
    board = _straighten(grey)
    if board is None:
        return None
    shares = _shares(board)
    if shares is None or int(((shares > DOUBT[0]) & (shares < DOUBT[1])).sum()) > MOST_DOUBTFUL:
        return None
    code = sum(int(share > 0.5) << place for share, place in zip(shares, reversed(range(BITS)), strict=True))
    shown = ungray(code) * TICK_NS
    return shown + round((near_ns - shown) / ROUND_NS) * ROUND_NS


def _straighten(grey: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
    """Return the board seen from the front, or None where the four markers are not found."""
    corners, ids, _ = _detector().detectMarkers(grey)
    if ids is None:
        return None
    found = {int(number): corner.reshape(4, 2) for number, corner in zip(ids.ravel(), corners, strict=True)}
    if not all(number in found for number in range(len(MARKERS))):
        return None
    square = np.array([(0, 0), (1, 0), (1, 1), (0, 1)]) * MARKER
    truth = np.concatenate([(np.array(at) + square) * PIXELS for at in MARKERS]).astype(np.float32)
    seen = np.concatenate([found[number] for number in range(len(MARKERS))]).astype(np.float32)
    board_from_picture: Any = cv2.findHomography(seen, truth)[0]
    if board_from_picture is None:
        return None
    return np.asarray(cv2.warpPerspective(grey, board_from_picture, (WIDTH * PIXELS, HEIGHT * PIXELS)), np.uint8)


def _shares(board: NDArray[np.uint8]) -> NDArray[np.float64] | None:
    """Return how black each cell is, 0 to 1, (16,); None where black and white are hardly apart."""
    black = np.median([_mean(board, x + 0.1, y + 0.1, MARKER - 0.2, 0.3) for x, y in MARKERS])
    white = np.median([_mean(board, x, y - 0.7, MARKER, 0.4) for x, y in MARKERS])
    if white - black < 25:
        return None
    levels = [
        _mean(board, CELL_X + CELL * (i % COLUMNS) + 0.6, CELL_Y + CELL * (i // COLUMNS) + 0.6, CELL - 1.2, CELL - 1.2)
        for i in range(BITS)
    ]
    return np.clip((white - np.array(levels)) / (white - black), 0, 1)


def _mean(board: NDArray[np.uint8], x: float, y: float, width: float, height: float) -> float:
    """Return the mean of a part of the board [units]."""
    left, top = round(x * PIXELS), round(y * PIXELS)
    return float(board[top : top + round(height * PIXELS), left : left + round(width * PIXELS)].mean())


@cache
def _dictionary() -> Any:
    return cv2.aruco.getPredefinedDictionary(cv2.aruco.DICT_4X4_50)


@cache
def _detector() -> Any:
    parameters: Any = cv2.aruco.DetectorParameters()
    parameters.cornerRefinementMethod = cv2.aruco.CORNER_REFINE_SUBPIX
    return cv2.aruco.ArucoDetector(_dictionary(), parameters)
