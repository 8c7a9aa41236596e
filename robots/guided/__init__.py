"""Guided identification: a safe program of motions that warms a joint's motor, and the record of what was measured."""
