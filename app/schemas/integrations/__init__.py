"""What callers send and get about integrations and API keys."""
