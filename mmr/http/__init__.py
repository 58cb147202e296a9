"""The Twisted-facing server code, and the guarded clients."""
