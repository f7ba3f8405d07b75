"""One request's life, and all reasoning about its cancellation. Start with ``pump``."""
