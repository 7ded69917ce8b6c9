"""Tables of outgoing webhooks: endpoints, their secrets, deliveries and attempts."""
