"""Anthropic: the Messages API, its clients and its accounts."""
