"""The Gemini API and its like on Vertex, simulated."""
