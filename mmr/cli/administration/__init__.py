"""The parts of ``mmr-admin``."""
