"""What is told to operators: one log line per ended request, and the invariants as they hold now."""
