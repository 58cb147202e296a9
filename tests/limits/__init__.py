"""Tests of mmr/limits/."""
