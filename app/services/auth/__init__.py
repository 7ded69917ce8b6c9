"""Authentication: how a person becomes a caller, and how that ends."""
