"""What the platform's staff does to accounts."""
