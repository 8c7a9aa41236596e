"""Robot descriptions: one module of constants per robot, with a source for each value."""
