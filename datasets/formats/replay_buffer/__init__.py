"""diffusion_policy's replay buffers and UMI's .zarr.zip files."""
