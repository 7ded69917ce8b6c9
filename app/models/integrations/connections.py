"""Tables of connections: grants of other services, authorisations under way, their log, revocations."""
