"""Asking other servers: finding them, signed requests, back-off, their media."""
