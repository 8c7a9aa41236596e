"""The read path for training: aligned rows, windows, shuffling and decoded frames."""
