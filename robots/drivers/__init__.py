"""Drivers: one module per protocol, behind the `Driver` protocol of `waldo.robots.driver`."""
