"""Backups as seen from the host: what it hands over, the container's jobs, the way back."""
