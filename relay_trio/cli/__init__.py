"""The verbs of the ``relay-trio`` command, one file each; ``main`` registers them."""
