"""The archives that media moves in and out with: parts and their manifest."""
