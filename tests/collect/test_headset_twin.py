"""A headset, the control cycle with its safety chain, and a simulated G1: its hand follows the operator's."""

from __future__ import annotations

import numpy as np
import pytest
from human_hand import tracked_hand

from tests.collect.headset_twin import DT_S, SQUARE_S, HeadsetTwin, square
from waldo.collect.devices.tracking import Side


def step(twin: HeadsetTwin, offset: np.ndarray, folded: float) -> np.ndarray | None:
    """Run a cycle with the hand at an offset (2,) [m]; return the device's command."""
    hand = tracked_hand(twin.side, pose=twin.wrist(offset), curl={"ring": folded, "pinky": folded})
    twin.source.hand(twin.side, pose=hand.pose, joints=hand.joints)
    twin.source.change(stamp_ns=twin.source.now_ns)
    return twin.step()


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_hand_follows_a_square_through_the_safety_chain(side: Side) -> None:
    twin = HeadsetTwin(side)
    for _ in range(60):
        assert step(twin, np.zeros(2), 0.0) is None
    start, errors = twin.hand_position(), []
    for tick in range(int(SQUARE_S / DT_S)):
        offset = square(tick * DT_S)
        assert step(twin, offset, 1.0) is not None
        errors.append(twin.hand_position() - twin.moved(start, offset))
    rms_m = float(np.sqrt(np.square(errors).sum(axis=1).mean()))
    assert rms_m < 0.005  # 2.6 and 2.5 mm as measured
    assert np.abs(errors[0]).max() < 0.003  # engaging moves nothing
    held = twin.hand_position()
    for _ in range(30):
        assert step(twin, np.zeros(2), 0.0) is None
    assert np.linalg.norm(twin.hand_position() - held) < 0.01
    twin.driver.disconnect()
