"""Import from and export to other dataset formats: one sub-package per format."""
