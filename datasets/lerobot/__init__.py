"""LeRobot datasets: export to v3.0, and import of v2.x and v3.0."""
