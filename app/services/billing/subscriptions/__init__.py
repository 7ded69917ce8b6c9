"""What an organisation subscribes to and pays with, as Stripe has it."""
