"""The vendor folder ``claude``."""
