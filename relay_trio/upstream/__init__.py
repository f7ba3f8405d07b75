"""The way to the upstreams: one HTTP/1.1 call at a time, and a pool that cannot leak.

Read in this order: ``parser`` (bytes in, answer out, no I/O), ``http1`` (one call over one
connection), ``connection_pool`` (who owns which connection), ``client`` (all of it behind one ``open``).
"""
