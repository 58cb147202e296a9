"""Tests of mmr/rest/: the server over HTTP."""
