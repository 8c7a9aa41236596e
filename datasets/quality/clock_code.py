"""A machine-readable clock: time as black and white cells between four ArUco markers.

The board is 20 x 10 units. There is a marker (ArUco dictionary 4x4_50, ids 0 to 3) of 3 x 3 units in each corner. The
4 x 4 cells of 2 x 2 units between them are the bits of a counter of 10 ms, the most significant bit at the upper left.
The counter is Gray-coded: only one cell changes per tick, so an image that is exposed during a change reads as one of
the two values. Sixteen bits wrap around after 655 s; the stamp of the image resolves the ambiguity.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

TICK_NS = 10_000_000
"""Tick of the counter [ns]."""

BITS = 16
"""Number of cells."""

WRAP_NS = TICK_NS << BITS
"""Time after which the counter wraps around [ns]."""

WIDTH, HEIGHT = 20, 10
"""Size of the board [units]."""

MARKERS = ((1, 1), (16, 1), (1, 6), (16, 6))
"""Upper left corner (x, y) of each marker, by id [units]."""

MARKER = 3
"""Side length of a marker [units]."""

CELL_X, CELL_Y, CELL, COLUMNS = 6, 1, 2, 4
"""Upper left corner (x, y) of the first cell, side length of a cell [units], cells per row."""

PIXELS = 12
"""Pixels per unit in the rectified image."""

AMBIGUOUS = (0.35, 0.65)
"""Range of darkness (0 white, 1 black) in which a cell is ambiguous: it changed during the exposure."""

MAX_AMBIGUOUS = 2
"""Largest number of ambiguous cells; with more, the reading is rejected."""


def gray(value: int) -> int:
    """Return the Gray code of a number."""
    return value ^ (value >> 1)


def ungray(code: int) -> int:
    """Return the number with a Gray code."""
    shift = 1
    while shift < BITS:
        code ^= code >> shift
        shift <<= 1
    return code


def cells(epoch_ns: int) -> list[bool]:
    """Return which cells are black at a time [ns since the epoch], the most significant bit first."""
    code = gray(round(epoch_ns / TICK_NS) % (1 << BITS))
    return [bool(code >> bit & 1) for bit in reversed(range(BITS))]


def marker(number: int) -> NDArray[np.uint8]:
    """Return the 6 x 6 modules of a marker, 0 black and 255 white."""
    return np.asarray(cv2.aruco.generateImageMarker(_dictionary(), number, 6), np.uint8)


def draw(epoch_ns: int, scale: int = 20) -> NDArray[np.uint8]:
    """Return the board at a time [ns since the epoch], uint8 (10 * scale, 20 * scale), as on the clock page."""
    out = np.full((HEIGHT * scale, WIDTH * scale), 255, np.uint8)
    for number, (x, y) in enumerate(MARKERS):
        side = (MARKER * scale, MARKER * scale)
        tile = cv2.resize(marker(number), side, interpolation=cv2.INTER_NEAREST)
        out[y * scale : (y + MARKER) * scale, x * scale : (x + MARKER) * scale] = tile
    for index, black in enumerate(cells(epoch_ns)):
        x, y = CELL_X + CELL * (index % COLUMNS), CELL_Y + CELL * (index // COLUMNS)
        if black:
            out[y * scale : (y + CELL) * scale, x * scale : (x + CELL) * scale] = 0
    return out


def read(rgb: NDArray[np.uint8], near_ns: int) -> int | None:
    """Return the time that the clock in an image shows [ns since the epoch]; None if it is not readable.

    Args:
        rgb: The image, uint8 (H, W, 3).
        near_ns: Stamp of the image [ns since the epoch]; of the times with the same counter, the nearest is returned.
    """
    gray_image = np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), np.uint8)
    board = _rectify(gray_image)
    if board is None:
        return None
    darkness = _darkness(board)
    if darkness is None or int(((darkness > AMBIGUOUS[0]) & (darkness < AMBIGUOUS[1])).sum()) > MAX_AMBIGUOUS:
        return None
    code = sum(int(dark > 0.5) << bit for dark, bit in zip(darkness, reversed(range(BITS)), strict=True))
    shown = ungray(code) * TICK_NS
    return shown + round((near_ns - shown) / WRAP_NS) * WRAP_NS


def _rectify(gray_image: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
    """Return the board as seen from the front; None if a marker is not found."""
    corners, ids, _ = _detector().detectMarkers(gray_image)
    if ids is None:
        return None
    found = {int(number): corner.reshape(4, 2) for number, corner in zip(ids.ravel(), corners, strict=True)}
    if not all(number in found for number in range(len(MARKERS))):
        return None
    square = np.array([(0, 0), (1, 0), (1, 1), (0, 1)]) * MARKER
    truth = np.concatenate([(np.array(at) + square) * PIXELS for at in MARKERS]).astype(np.float32)
    seen = np.concatenate([found[number] for number in range(len(MARKERS))]).astype(np.float32)
    board_from_image: Any = cv2.findHomography(seen, truth)[0]
    if board_from_image is None:
        return None
    return np.asarray(cv2.warpPerspective(gray_image, board_from_image, (WIDTH * PIXELS, HEIGHT * PIXELS)), np.uint8)


def _darkness(board: NDArray[np.uint8]) -> NDArray[np.float64] | None:
    """Return the darkness of each cell, (16,), 0 white to 1 black; None if the contrast is too low."""
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
    """Return the mean gray value of a rectangle of the board [units]."""
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
