"""HDF5 datasets of robomimic and ALOHA."""
