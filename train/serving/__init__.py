"""Policies over the network: the wire format of openpi, a server and a client."""
