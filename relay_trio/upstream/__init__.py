"""The way to the upstreams: one HTTP/1.1 exchange at a time over trio sockets, and a pool that cannot leak.

Read in this order: ``parser`` (bytes in, answer out, no I/O), ``pipe`` and ``tls`` (bytes over a socket),
``connection`` (one exchange), ``pool`` (who owns which connection), ``client`` (all of it behind one ``open``).
"""
