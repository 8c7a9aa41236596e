"""TLS: the certificate of a server, and handshakes with limits."""
