"""Memory, operating modes and protections of emulated servos."""
