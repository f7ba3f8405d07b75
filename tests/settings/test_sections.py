"""The defaults that operators are promised, and what the models guarantee by themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pydantic
import pytest

from relay_trio.config import Settings
from relay_trio.settings import Listener

if TYPE_CHECKING:
    from tests.support.relay_toml import Load, Problems


def test_defaults_are_those_of_the_reference() -> None:
    settings = Settings()
    assert settings.server.listeners == (Listener("127.0.0.1", 8400),)
    assert settings.admin.listener == Listener("127.0.0.1", 8401)
    assert (settings.server.drain_seconds, settings.server.max_body_bytes) == (120, 32 * 2**20)
    assert list(settings.timeouts.model_dump().values()) == [5, 120, 600, 300, 3600, 10, 30, 120, 30]
    assert settings.queue.model_dump() == {"max_waiting": 1000, "queue_timeout_seconds": 30}
    assert settings.retry.model_dump() == {
        "enabled": True,
        "max_attempts": 3,
        "budget_ratio": 0.2,
        "budget_min_concurrent": 3,
        "after_timeout": False,
    }
    assert settings.breaker.model_dump() == {
        "enabled": True,
        "strikes": 5,
        "eject_seconds": 30,
        "eject_max_seconds": 300,
        "retry_after_max_seconds": 300,
    }
    assert settings.logging.format == "auto"


def test_settings_cannot_be_changed(load_text: Load) -> None:
    settings = load_text()
    with pytest.raises(pydantic.ValidationError):
        settings.account[0].max_concurrency = 3


def test_secrets_are_not_shown(load_text: Load) -> None:
    """Neither repr, str nor a dump as JSON holds a secret."""
    settings = load_text(
        '[admin]\ntoken = "env:T"\n[[key]]\nname = "k"\nsecret = "env:S"\n', {"T": "t0ken", "S": "s3cret"}
    )
    for text in (repr(settings), str(settings), settings.model_dump_json(), str(settings.model_dump())):
        assert not any(secret in text for secret in ("sk-ant-of-the-tests", "t0ken", "s3cret"))


def test_one_half_of_tls_asks_for_the_other(problems_of: Problems) -> None:
    assert problems_of('[server]\ntls_cert = "cert.pem"\n') == {"server.tls_key": "is needed, because tls_cert is set"}
    assert problems_of('[server]\ntls_key = "key.pem"\n') == {"server.tls_cert": "is needed, because tls_key is set"}


@pytest.mark.parametrize("listener", ["0.0.0.0:8401", "[::]:8401", "relay:8401"])
def test_an_admin_listener_beyond_loopback_needs_a_token(load_text: Load, problems_of: Problems, listener: str) -> None:
    text = f'[admin]\nlistener = "{listener}"\n'
    assert list(problems_of(text)) == ["admin.listener"]
    assert list(problems_of(text + 'token = ""\n')) == ["admin.listener"]
    assert load_text(text + 'token = "env:T"\n', {"T": "t"}).admin.token is not None


def test_the_longest_ejection_is_not_the_shortest(problems_of: Problems) -> None:
    assert problems_of("[breaker]\neject_seconds = 400\n") == {
        "breaker.eject_max_seconds": "must not be less than eject_seconds (400)"
    }
