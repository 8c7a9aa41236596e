"""Shared by the commands: arguments, YAML options, progress bars, notices and tables."""
