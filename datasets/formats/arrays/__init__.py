"""Episodes from arrays whose first axis is time, such as those of zarr and HDF5 datasets."""
