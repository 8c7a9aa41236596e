"""Human-in-the-loop reinforcement learning on the simulated twin, by LeRobot's actor and learner (HIL-SERL)."""
