"""``relay-trio demo``: simulated upstreams, a real relay, and clients that hang up."""
