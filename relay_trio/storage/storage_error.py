"""What can be wrong where rows and keys are kept. Each message is for the operator: the place, the reason, the fix."""

from __future__ import annotations


class StorageError(Exception):
    """The storage cannot be used; the message names it, the reason and the fix."""


class SchemaTooNew(StorageError):
    """A newer relay-trio wrote it."""


class RowRefused(StorageError):
    """It does not take one of the rows: a value cannot be stored as it is, or breaks a rule of the table."""
