"""Samples of Vertex AI, for recordings and the conformance suite."""

from __future__ import annotations

from tests.support.vendor_samples import Sample, SampleAccount, VendorSamples
from tests.vendors.gemini.samples import shared

TOKEN, KEY = "ya29.canary-of-the-account", "AIza-express-canary"
PLACE = "/v1/projects/theirs/locations/theirs/publishers/google/models"
ACCOUNT = {"project": "my-ai", "location": "europe-west4", "token_file": "/run/secrets/vertex-token"}

SAMPLES = VendorSamples(
    accounts=(
        SampleAccount(ACCOUNT, (TOKEN,), token=TOKEN),
        SampleAccount({"api_key": KEY}, (KEY,)),
    ),
    wrong=SampleAccount(ACCOUNT, ("ya29.wrong",), token="ya29.wrong"),
    samples=(
        *shared(PLACE),
        Sample("publisher-models", "gemini.publisher_models", "/v1beta1/publishers/google/models", method="GET"),
    ),
)
