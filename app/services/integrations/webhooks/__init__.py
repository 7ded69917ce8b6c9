"""Outgoing webhooks: endpoints of customers, and the deliveries of events to them."""
