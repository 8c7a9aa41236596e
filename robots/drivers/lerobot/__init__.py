"""Any robot that LeRobot supports, as a driver; its units and its serial buses, which teleoperators share."""
