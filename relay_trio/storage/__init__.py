"""The database file: opening, locking, migrating, and saying what is wrong with it. No table's meaning."""
