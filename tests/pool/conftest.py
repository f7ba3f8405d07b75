"""The fixtures of the tests that ask an upstream."""

from tests.support.canned_upstream import config_file, serve_upstream

__all__ = ["config_file", "serve_upstream"]
