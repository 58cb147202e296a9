"""Other servers' databases, stores and files: read to move in, written to move out."""
