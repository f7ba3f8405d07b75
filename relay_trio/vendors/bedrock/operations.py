"""What clients of the Bedrock runtime can request, and the one listing that they request beside it.

The model is a part of the path, where an ARN's slashes are escaped; bodies are in the model's own format.
"""

from __future__ import annotations

from relay_trio.api.operation import Operation, model_of_path, one_or_all, stream_of_path
from relay_trio.vendors.bedrock.model_list import listing_of

INVOKE = Operation("bedrock.invoke", (("POST", "/model/{model}/invoke"),), model_of_path)
INVOKE_STREAM = Operation(
    "bedrock.invoke_stream", (("POST", "/model/{model}/invoke-with-response-stream"),), stream_of_path
)
CONVERSE = Operation("bedrock.converse", (("POST", "/model/{model}/converse"),), model_of_path)
CONVERSE_STREAM = Operation("bedrock.converse_stream", (("POST", "/model/{model}/converse-stream"),), stream_of_path)
COUNT_TOKENS = Operation("bedrock.count_tokens", (("POST", "/model/{model}/count-tokens"),), model_of_path)
INFERENCE_PROFILES = Operation(
    "bedrock.inference_profiles",
    (("GET", "/inference-profiles"), ("GET", "/inference-profiles/{model}")),
    one_or_all,
    lists=listing_of(INVOKE.name),
)

OPERATIONS: tuple[Operation, ...] = (INVOKE, INVOKE_STREAM, CONVERSE, CONVERSE_STREAM, COUNT_TOKENS, INFERENCE_PROFILES)
