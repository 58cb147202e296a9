"""Tests of mmr/tasks/."""
