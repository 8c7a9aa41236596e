"""`waldo demo`: the whole of waldo on one machine, from an operator's hand to a policy's report."""
