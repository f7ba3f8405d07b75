"""Bytes over a connection, the same for both edges: sockets, and TLS over them, with a synchronous half.

``transport`` (a socket, or any trio stream), ``tls`` (TLS over either). Nothing here knows HTTP, or which edge it
serves.
"""
