"""Sans-IO parsers: bytes in, events out, the same events for every cut of the same bytes."""
