"""Teleoperation: a device on one side, `joint_commands` and the services of recorder and robot on the other."""
