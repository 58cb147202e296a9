"""Where bytes live: the interface, its providers, and which one is used when."""
