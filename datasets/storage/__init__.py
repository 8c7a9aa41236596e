"""The files of a dataset: names, lock, indices, checksummed lines, object stores and transfers."""
