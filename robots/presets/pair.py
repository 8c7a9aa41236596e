"""Two arms as one robot, named as LeRobot names them: `left_shoulder_pan`, ..., `right_gripper`."""

from __future__ import annotations

from waldo.robots.description import Camera, EndEffector, Part, Robot


def pair(name: str, model: str, left: Robot, right: Robot, *, mjcf: str, cameras: tuple[Camera, ...] = ()) -> Robot:
    """Return a robot of a left and a right arm, each with a connection of its own.

    Args:
        name: Name of the preset.
        model: Manufacturer and type.
        left: The left arm.
        right: The right arm.
        mjcf: MJCF file with the prefixes `left_` and `right_`.
        cameras: Cameras of both arms; those of each arm follow.
    """
    parts = tuple(Part(name=side, robot=arm, prefix=f"{side}_") for side, arm in (("left", left), ("right", right)))
    return Robot(
        name=name,
        model=model,
        joints=tuple(joint for part in parts for joint in part.joints),
        cameras=(*cameras, *(camera for part in parts for camera in part.cameras)),
        mjcf=mjcf,
        end_effectors=tuple(
            EndEffector(site=part.prefix + one.site, pads=(part.prefix + one.pads[0], part.prefix + one.pads[1]))
            for part in parts
            for one in part.robot.end_effectors
        ),
        sources=tuple(dict.fromkeys((*left.sources, *right.sources))),
        parts=parts,
    )
