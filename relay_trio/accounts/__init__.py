"""Accounts: their slots, their health, who gets one next, and the keys of the clients who ask."""
