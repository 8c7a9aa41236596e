"""Motor heat: the two-node model, the observer, the forecast and the governor."""
