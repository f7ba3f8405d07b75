"""Quart-trio: routes, authentication, error envelopes, and its request nursery, in which the pump runs."""
