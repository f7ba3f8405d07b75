"""The vendor folder ``bedrock``."""
