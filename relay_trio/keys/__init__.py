"""Client keys: their secrets, their place in the database, and who a secret belongs to."""
