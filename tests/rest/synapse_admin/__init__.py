"""Tests of Synapse's media admin API."""
