"""Admin endpoints (mmr-http-api.md §11)."""
