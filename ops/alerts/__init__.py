"""Alerts: what fires, silences, delivery, and changes that are announced to the monitoring."""
