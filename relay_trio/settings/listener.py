"""An address to listen on, as it is written in relay.toml: ``host:port``, ``[::1]:8400`` or ``unix:/path``."""

from __future__ import annotations

import ipaddress
import re
import socket
from dataclasses import dataclass

_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,252}[A-Za-z0-9])?", re.ASCII)
_PORT = re.compile(r"[0-9]{1,5}", re.ASCII)
_HIGHEST_PORT = 65535
_LONGEST_UNIX_PATH_BYTES = 107  # sun_path of Linux, without its final NUL


@dataclass(frozen=True, slots=True)
class Listener:
    """One address: either ``host`` and ``port``, or ``path`` of a unix socket (then host is empty and port is 0).

    Port 0 asks the system for any free port. ``str()`` is the written form, which is also Hypercorn's.
    """

    host: str = ""
    port: int = 0
    path: str = ""

    @classmethod
    def parse(cls, written: str) -> Listener:
        """The listener that ``written`` stands for.

        Raises:
            ValueError: it is none. The message does not repeat ``written``, which may be a misplaced secret.
        """
        if written.startswith("unix:"):
            return cls(path=_unix_path(written.removeprefix("unix:")))
        host, colon, port = written.rpartition(":")
        if not colon or not _PORT.fullmatch(port) or int(port) > _HIGHEST_PORT:
            raise ValueError("must be host:port with a port from 0 to 65535, or unix:/path")
        return cls(host=_host(host), port=int(port))

    @property
    def is_unix(self) -> bool:
        """Whether this is a unix socket."""
        return bool(self.path)

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it over the network (false for a unix socket, which has no network)."""
        return is_loopback_host(self.host)

    @property
    def is_public(self) -> bool:
        """Whether other machines may reach it."""
        return not self.is_unix and not self.is_loopback

    def __str__(self) -> str:
        if self.is_unix:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def is_loopback_host(host: str) -> bool:
    """Whether ``host`` (a name or an address, IPv6 without brackets) is this machine only.

    Of the names only ``localhost`` counts: what any other name resolves to is not known here.
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _unix_path(path: str) -> str:
    if not hasattr(socket, "AF_UNIX"):
        raise ValueError("must be host:port: this system has no unix sockets")
    if not path.startswith("/"):
        raise ValueError("must be an absolute path after unix:")
    if "\0" in path or len(path.encode("utf-8", "surrogateescape")) > _LONGEST_UNIX_PATH_BYTES:
        raise ValueError(f"must be a unix socket path of at most {_LONGEST_UNIX_PATH_BYTES} bytes")
    return path


def _host(host: str) -> str:
    if host.startswith("[") and host.endswith("]"):
        try:
            return str(ipaddress.IPv6Address(host[1:-1]))
        except ValueError:
            raise ValueError("must hold an IPv6 address between [ and ]") from None
    if not host:
        raise ValueError("must name a host before the port (0.0.0.0 or [::] for every address)")
    if ":" in host:
        raise ValueError("must write an IPv6 address between [ and ]")
    if not _HOST.fullmatch(host):
        raise ValueError("must hold a host name or an address before the port")
    return host
