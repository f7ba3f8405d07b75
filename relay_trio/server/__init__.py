"""Hypercorn on trio: sockets, TLS, lifespan, signals."""
