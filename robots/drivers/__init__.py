"""Drivers: one module per kind of robot, behind the `Driver` protocol of waldo.robots.driver."""
