"""Traces: the way of a request through the services, from spans that the log store keeps as records."""
