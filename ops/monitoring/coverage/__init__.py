"""How completely each service is monitored (docs/how-to/coverage.md)."""
