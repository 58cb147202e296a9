"""Signing keys, their files, signatures of servers, and whose keys are whose."""
