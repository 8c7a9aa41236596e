"""The motor library: published constants with their sources, and manufacturers' overload tables."""
