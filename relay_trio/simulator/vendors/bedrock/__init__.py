"""The Bedrock runtime with Claude models, simulated, signatures and all."""
