"""What the demo's clients ask: every form, in rotation, and accounts that relay.toml takes."""

from __future__ import annotations

import random
import shlex

from relay_trio.api.credential import Credential
from relay_trio.config import Settings
from relay_trio.demo.traffic import ACCOUNTS, FORMS, KEY, curl_command, draw_request
from relay_trio.simulator.vendors.registry import VENDORS
from relay_trio.vendors.registry import provider_named


def test_every_form_has_its_client_and_every_vendor_as_many() -> None:
    vendor_of = {form: number for number, vendor in enumerate(VENDORS) for form in vendor.samples.requests}
    assert set(FORMS) == set(vendor_of)
    counts = [sum(vendor_of[form] == number for form in FORMS) for number in range(len(VENDORS))]
    assert len(set(counts)) == 1


def test_most_requests_are_for_a_stream_and_not_all() -> None:
    for form in FORMS:
        drawn = [draw_request(form, random.Random(seed)) for seed in range(50)]
        assert 0 < sum(not request.ends for request in drawn) < 20


def test_the_curl_command_is_one_for_a_shell() -> None:
    command = shlex.split(curl_command("http://127.0.0.1:8400").replace("\\\n", ""))
    assert command[:2] == ["curl", "-N"]
    assert command[2].startswith("http://127.0.0.1:8400/")
    assert any(KEY in word for word in command)
    assert command[-2] == "-d"


def test_every_account_is_valid_and_has_its_credential() -> None:
    settings = Settings.model_validate({"account": [account.table("http://127.0.0.1:9") for account in ACCOUNTS]})
    assert {account.base_url for account in settings.account} == {"http://127.0.0.1:9"}
    assert [account.max_concurrency for account in settings.account] == [account.slots for account in ACCOUNTS]
    found = [provider_named(account.provider).credential(account) for account in settings.account]
    assert all(isinstance(credential, Credential) for credential in found)
