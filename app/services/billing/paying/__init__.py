"""How an organisation pays: its customer at Stripe, pages of checkout, and ways to pay."""
