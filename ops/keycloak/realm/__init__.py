"""The realm: its declaration compared with the live realm, applied and exported."""
