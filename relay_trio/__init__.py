"""A streaming relay for LLM traffic that cannot leak a slot."""

__version__ = "0.1.0"
