"""mmr: a Matrix media repository on Twisted."""

__version__ = "0.1.0"
