"""Evaluation of policies: success with its uncertainty, motor heat, and the report."""
