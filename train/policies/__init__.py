"""Policies: LeRobot checkpoints evaluated in many worlds at once."""
