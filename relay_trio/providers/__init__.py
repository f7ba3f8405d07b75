"""One file per upstream API. Plain functions over bytes: no I/O, no trio."""
