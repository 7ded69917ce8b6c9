"""Tests of the sandbox that plays Stripe, through the real library."""
