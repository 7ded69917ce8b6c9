"""What is heard from Stripe and said to it: the inbox and its effects, the outbox and its calls."""
