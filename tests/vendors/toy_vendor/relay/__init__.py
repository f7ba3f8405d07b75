"""A vendor that nobody has: as small as one can be that does all that the others do."""
