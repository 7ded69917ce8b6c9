"""What an organisation pays for, and what it may use."""
