"""What stops the bench: each text says what to do."""


class BenchError(Exception):
    """The run can't go on; the text is for the person at the terminal."""
