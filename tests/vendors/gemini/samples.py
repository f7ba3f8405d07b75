"""Samples of the Gemini API, for recordings and the conformance suite. Vertex AI's are made of the same."""

from __future__ import annotations

from typing import Any

from tests.support.vendor_samples import Sample, SampleAccount, VendorSamples

KEY = "AIza-canary-of-the-account"
GZIP = ("accept-encoding", "gzip, deflate")
PLACE = "/v1beta/models"
CONTENTS = [{"role": "user", "parts": [{"text": "Say something about the sea."}]}]
THINKS = {"generationConfig": {"thinkingConfig": {"includeThoughts": True, "thinkingBudget": 256}}}
CALLS_A_FUNCTION = {
    "tools": [
        {
            "functionDeclarations": [
                {
                    "name": "weather",
                    "description": "The weather of a place.",
                    "parameters": {"type": "OBJECT", "properties": {"place": {"type": "STRING"}}},
                }
            ]
        }
    ],
    "toolConfig": {"functionCallingConfig": {"mode": "ANY"}},
}


def generating(
    name: str, spec: str = "", *, place: str = PLACE, verb: str = "streamGenerateContent?alt=sse",
    model: str = "gemini-sim", gzip: bool = False, **members: Any,
) -> Sample:  # fmt: skip
    """A request for an answer: as events, as an array, or as one document."""
    operation = "gemini.generate" if verb == "generateContent" else "gemini.stream"
    document = {"contents": CONTENTS, **members}
    headers = (GZIP,) if gzip else ()
    spec = f"chunks=3,thinking=2,{spec}"
    return Sample(name, operation, f"{place}/{model}:{verb}", document, headers=headers, spec=spec)


ARRAY = "streamGenerateContent"
WHOLE = "generateContent"


def shared(place: str) -> tuple[Sample, ...]:
    """What both of Google's services are asked for, with the paths of one of them."""

    def ask(name: str, spec: str = "", **how: Any) -> Sample:
        return generating(name, spec, place=place, **how)

    embed = {"content": {"parts": [{"text": "the sea"}]}, "outputDimensionality": 4}
    return (
        ask("stream-sse"),
        ask("stream-sse-thoughts", **THINKS),
        ask("stream-sse-function-call", **CALLS_A_FUNCTION),
        ask("stream-sse-cache", "input=400,cache_read=300"),
        ask("stream-sse-prompt-grows", "input=5,delta_input=77"),
        ask("stream-sse-cut-between-events", "fault=end_after_events:2"),
        ask("stream-sse-cut-in-an-event", "fault=end_after:500"),
        ask("stream-sse-error", "fault=error_event:2"),
        ask("stream-sse-gzip", "fault=gzip", gzip=True),
        ask("stream-array", verb=ARRAY),
        ask("stream-array-thoughts", verb=ARRAY, **THINKS),
        ask("stream-array-cut-between-elements", "fault=end_after_events:2", verb=ARRAY),
        ask("stream-array-cut-in-an-element", "fault=end_after:700", verb=ARRAY),
        ask("stream-array-error", "fault=error_event:2", verb=ARRAY),
        ask("generate", verb=WHOLE),
        ask("generate-thoughts", verb=WHOLE, **THINKS),
        ask("generate-gzip", "fault=gzip", verb=WHOLE, gzip=True),
        ask("generate-unknown-model", verb=WHOLE, model="gemini-unheard-of"),
        ask("generate-rate-limit", "fault=429:7", verb=WHOLE),
        ask("generate-unavailable", "fault=503", verb=WHOLE),
        Sample(
            "generate-refused", "gemini.generate", f"{place}/gemini-sim:generateContent", {"contents": CONTENTS},
            is_refused=True,
        ),
        Sample("count-tokens", "gemini.count_tokens", f"{place}/gemini-sim:countTokens", {"contents": CONTENTS}),
        Sample("embed", "gemini.embed", f"{place}/gemini-embedding-sim:embedContent", embed),
    )  # fmt: skip


SAMPLES = VendorSamples(
    accounts=(SampleAccount({"api_key": KEY}, (KEY,)),),
    wrong=SampleAccount({"api_key": "AIza-wrong"}, ("AIza-wrong",)),
    samples=(
        *shared(PLACE),
        Sample(
            "batch-embed", "gemini.batch_embed", f"{PLACE}/gemini-embedding-sim:batchEmbedContents",
            {"requests": [{"model": "models/gemini-embedding-sim", "content": {"parts": [{"text": "the sea"}]},
                           "outputDimensionality": 4}]},
        ),
        Sample("models", "gemini.models", PLACE, method="GET", headers=(("x-goog-api-key", "rt_client"),)),
        Sample("models-one", "gemini.models", f"{PLACE}/gemini-sim", method="GET"),
    ),
)  # fmt: skip
