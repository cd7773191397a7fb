"""Users of the realm: created, listed, locked out, unlocked."""
