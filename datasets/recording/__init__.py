"""The write path of an episode: journal, encoding, and the conversion into a zarr group."""
