"""Frames and rotations: WebXR's axes become a robot's, and rotation vectors are exact up to half a turn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from waldo.collect.retargeting.frames import (
    heading,
    is_rotation,
    pose_to_operator,
    rotation_matrix,
    rotation_vector,
    to_operator,
    yaw_rotation,
)

VECTORS = st.tuples(*[st.floats(-1.8, 1.8)] * 3).map(np.array)


def test_webxr_axes_become_those_of_a_robot() -> None:
    right, up, forward = [1.0, 0, 0], [0.0, 1, 0], [0.0, 0, -1]
    np.testing.assert_array_equal(to_operator(np.array([right, up, forward])), [[0, -1, 0], [0, 0, 1], [1, 0, 0]])


def test_a_pose_keeps_its_own_axes() -> None:
    pose = np.eye(4)
    pose[:3, 3] = 0.1, 0.2, -0.3
    found = pose_to_operator(pose)
    np.testing.assert_allclose(found[:3, 3], [0.3, -0.1, 0.2])
    np.testing.assert_allclose(found[:3, 1], [0, 0, 1])
    assert is_rotation(found[:3, :3])


@pytest.mark.parametrize("pitch", [0.0, 0.8, 1.55, -0.8, -1.55])
def test_a_heading_does_not_depend_on_looking_up_or_down(pitch: float) -> None:
    for yaw in (0.0, 0.7, -2.0):
        # about WebXR's y (up), then about its x (right)
        head = np.eye(4)
        head[:3, :3] = rotation_matrix(np.array([0, yaw, 0])) @ rotation_matrix(np.array([pitch, 0, 0]))
        assert heading(head) == pytest.approx(yaw, abs=1e-6)


@given(VECTORS)
def test_a_rotation_vector_and_its_matrix_are_inverse(vector: np.ndarray) -> None:
    matrix = rotation_matrix(vector)
    assert is_rotation(matrix)
    np.testing.assert_allclose(rotation_matrix(rotation_vector(matrix)), matrix, atol=1e-6)


@pytest.mark.parametrize("axis", [[1, 0, 0], [0, 1, 0], [0, 0, 1], [0.6, 0, -0.8]])
def test_half_a_turn_has_a_rotation_vector(axis: list[float]) -> None:
    matrix = rotation_matrix(np.pi * np.array(axis))
    np.testing.assert_allclose(rotation_matrix(rotation_vector(matrix)), matrix, atol=1e-6)


def test_a_yaw_turns_forward_to_the_left() -> None:
    np.testing.assert_allclose(yaw_rotation(np.pi / 2) @ [1, 0, 0], [0, 1, 0], atol=1e-12)


def test_a_mirrored_scaled_or_unfinished_matrix_is_not_a_rotation() -> None:
    assert not is_rotation(np.diag([1.0, 1, -1]))
    assert not is_rotation(2 * np.eye(3))
    assert not is_rotation(np.full((3, 3), np.nan))
