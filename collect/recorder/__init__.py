"""The recorder: subscriptions, loss counting, monitoring, and episodes written to a dataset."""
