"""inv report: how the stack has served its users, as one page for the operator's management."""
