"""Scripted experts that solve the tasks from ground truth."""
