"""RobStride motors: the driver, its two protocols, and the models."""
