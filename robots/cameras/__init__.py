"""Cameras that are separate devices: V4L2 devices, network streams, video files and RealSense."""
