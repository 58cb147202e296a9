"""Tests of mmr, folder by folder as in ``mmr/``."""
