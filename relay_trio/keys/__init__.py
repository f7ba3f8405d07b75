"""Client keys: their secrets, the store they are kept in, and who a secret belongs to."""
