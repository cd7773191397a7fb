"""What the state folder keeps: sealed releases, the versions of secrets, and their encryption at rest. Knows no command."""
