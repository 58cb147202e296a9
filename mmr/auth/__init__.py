"""Who is asking: access tokens, application services, the shared secret, admins."""
