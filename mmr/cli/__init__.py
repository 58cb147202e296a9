"""Programs for admins beside the server: one module each."""
