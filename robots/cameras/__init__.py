"""Cameras beside a driver that has none: V4L2 devices, network streams, video files and RealSense."""
