"""Tests of mmr/util/."""
