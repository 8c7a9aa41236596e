"""Teleoperation devices: keyboard, gamepad, leader arms, LeRobot's teleoperators and a scripted operator."""
