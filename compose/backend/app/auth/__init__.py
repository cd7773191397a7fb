"""Who is calling: bearer tokens of the realm, checked against its published keys."""
