"""The checks that `waldo doctor` runs."""
