"""Other servers of the inn: what they look after is asked for at their peer doors."""
