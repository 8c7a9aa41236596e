"""Unitree robots over DDS: the driver, message types, checksum and motor indices."""
