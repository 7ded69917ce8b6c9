"""What the routes of organisations and teams take and answer."""
