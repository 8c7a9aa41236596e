"""MJCF and URDF files as robots: names, drives and gains, so that a model has one position target for each joint."""
