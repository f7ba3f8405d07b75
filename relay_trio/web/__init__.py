"""Quart-trio: routes, authentication, error envelopes, and the seam between its request nursery and the relay."""
