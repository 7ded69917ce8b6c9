"""Everything that reaches people: for now, mail."""
