"""What the routes under `/api/notifications` take and answer."""
