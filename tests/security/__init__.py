"""Requirements that hold for every route (security-requirements.md)."""
