"""The security audit: what was observed of a stack in, numbered controls with their results out."""
