"""Certificates: which there are, whether one is good, what it takes to put another in its place."""
