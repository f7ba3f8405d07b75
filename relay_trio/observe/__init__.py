"""What operators see: the log, the invariants as they hold now, and the tree of live tasks."""
