"""The vendor folder ``gemini``."""
