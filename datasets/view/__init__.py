"""Viewing an episode: as a self-contained HTML page, or in Rerun."""
