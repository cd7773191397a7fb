"""The audit log: who changed this host, when and with which outcome, each entry sealed to the one before it."""
