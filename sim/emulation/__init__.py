"""Emulated hardware: servos on a serial bus, motors on a CAN bus, a robot on DDS."""
