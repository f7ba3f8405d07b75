"""The fixtures of the command line's tests."""

from tests.support.canned_upstream import config_file, serve_upstream

__all__ = ["config_file", "serve_upstream"]
