"""The real thing: ``twistd mmr`` as a child process, with real services around it."""
