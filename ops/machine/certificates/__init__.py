"""Certificates on this host: their files, what is served on the wire, how one takes the place of another."""
