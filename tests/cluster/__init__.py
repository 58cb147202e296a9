"""Tests of mmr.cluster."""
