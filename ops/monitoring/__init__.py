"""Metrics, objectives and reports of the running stack."""
