"""Content and records kept in memory, bounded and never stale after a change."""
