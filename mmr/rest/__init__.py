"""Servlets: HTTP in, one call of the rooms below, HTTP out."""
