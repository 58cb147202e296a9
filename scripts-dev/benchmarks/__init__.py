"""Measures mmr beside reference servers in one interleaved run (docs/benchmarks.md)."""
