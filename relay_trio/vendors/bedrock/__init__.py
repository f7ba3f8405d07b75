"""Amazon Bedrock, the clients of its runtime and its accounts."""
