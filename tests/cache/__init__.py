"""Tests of mmr.cache."""
