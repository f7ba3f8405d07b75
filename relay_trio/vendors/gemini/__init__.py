"""Google's Gemini API, its clients and its accounts."""
