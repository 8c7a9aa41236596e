"""Teleoperation devices behind the `Device` protocol: keyboard, gamepad, leader arms, scripted operators."""
