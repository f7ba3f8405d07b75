"""Google's Vertex AI: its accounts. Its clients speak the dialect of the Gemini API."""
