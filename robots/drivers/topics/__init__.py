"""Robots that are already on the ROS graph: the `topics` driver, its commands and temperatures."""
