"""The vendor folder ``vertex``."""
