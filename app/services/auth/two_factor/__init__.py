"""A person's own second factor: turning it on and off, and new backup codes."""
