"""diffusion_policy's replay buffers and UMI's zip files."""
