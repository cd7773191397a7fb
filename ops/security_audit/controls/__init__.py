"""The controls of the audit, a module for each section."""
