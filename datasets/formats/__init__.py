"""Import and export of other dataset formats; each format is a module or sub-package registered as an entry point."""
