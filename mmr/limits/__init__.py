"""How much a caller may: quota rules."""
