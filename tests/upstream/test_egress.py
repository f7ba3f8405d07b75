"""Trust and proxy as they are configured."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trustme

from relay_trio import __version__
from relay_trio.settings import UpstreamSettings
from relay_trio.upstream.egress import egress_of

if TYPE_CHECKING:
    from pathlib import Path


def test_nothing_configured_is_the_systems_store_and_no_proxy() -> None:
    egress = egress_of(UpstreamSettings())
    assert egress.ssl_context is egress.proxy is None


def test_a_ca_file_is_the_only_trust_and_the_proxy_is_the_only_way(tmp_path: Path) -> None:
    trustme.CA().cert_pem.write_to_path(tmp_path / "ca.pem")
    settings = {"ca_file": str(tmp_path / "ca.pem"), "proxy": "http://user:canary@proxy:3128"}
    egress = egress_of(UpstreamSettings.model_validate(settings))
    assert egress.ssl_context is not None
    assert len(egress.ssl_context.get_ca_certs()) == 1
    assert egress.proxy is not None
    assert (egress.proxy.host, egress.proxy.port) == ("proxy", 3128)
    assert "canary" not in repr(egress)


def test_every_request_says_who_sends_it() -> None:
    assert egress_of(UpstreamSettings()).fields == b"user-agent: relay-trio/%b\r\n" % __version__.encode()
    assert egress_of(UpstreamSettings(user_agent="acme (relay)")).fields == b"user-agent: acme (relay)\r\n"


def test_a_file_without_certificates_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "empty.pem").touch()
    with pytest.raises(OSError, match="certificate"):
        egress_of(UpstreamSettings.model_validate({"ca_file": str(tmp_path / "empty.pem")}))
