"""Planners: an instruction and a scene in, subtasks out."""
