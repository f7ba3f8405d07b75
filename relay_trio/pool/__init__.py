"""Upstream accounts: their slots, their health, and which one is next."""
