"""Where counts live. One process keeps them in memory; shared stores come beside it with the same verbs."""
