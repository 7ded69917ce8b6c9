"""Sign-in with Google and GitHub: the trip to the provider and back, and what it makes of an account."""
