"""The ledger: one row per request, what it cost, and what was used by whom."""
