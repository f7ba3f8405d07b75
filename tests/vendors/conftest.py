"""The fixtures of the tests that write a relay.toml."""

from tests.support.relay_toml import config_file, load_text, problems_of

__all__ = ["config_file", "load_text", "problems_of"]
