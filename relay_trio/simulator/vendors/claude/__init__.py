"""The Claude Messages API, simulated."""
