"""Background work and its runner."""
