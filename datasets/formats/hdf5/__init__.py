"""HDF5 datasets: robomimic and ALOHA."""
