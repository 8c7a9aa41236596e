"""Retargeting: from the poses of an operator's hands to a robot's joint targets.

Data flows one way: tracked poses -> checks -> clutch -> retargeting -> joint targets.
"""
