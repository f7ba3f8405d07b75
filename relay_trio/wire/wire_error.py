"""The one error of the parsers.

It says that bytes are not what their format promises, or pass a limit of their parser. Whose fault that is depends on
who sent them, which only the caller knows: it turns this into an error of ``relay_trio.errors``. The message never
quotes the bytes, which may be somebody's prompt.
"""

from __future__ import annotations


class WireError(ValueError):
    """The bytes break their format, or a limit of the parser. The parser that raised it is done."""
