"""Policies over the network: the wire format of openpi, a server and a client."""

TOKEN_VARIABLE = "WALDO_SERVE_TOKEN"
"""Environment variable with the token of a server, which keeps it out of the process list."""

CHILD_VARIABLE = "WALDO_CHILD"
"""Environment variable of a server that ends with the process that started it."""
