"""Sessions: a plan of the episodes to record, progress against it, rests for the motors, and a report."""
