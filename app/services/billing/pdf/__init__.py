"""Documents as PDF, made of their immutable rows alone."""
