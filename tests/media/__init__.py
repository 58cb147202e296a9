"""Tests of mmr/media/."""
