"""Tests of mmr.datastores."""
