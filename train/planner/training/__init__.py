"""Training of the toy planner and its synthetic grammar; development code that the wheel does not contain."""
