"""The toy's API, simulated."""
