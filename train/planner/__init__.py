"""Planners: translate an instruction about a scene into subtasks."""
