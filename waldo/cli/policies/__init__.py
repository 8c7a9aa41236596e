"""Commands about policies: train, serve, run, evaluate, and the planner in front of them."""
