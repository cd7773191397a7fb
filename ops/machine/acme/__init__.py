"""The public certificate by ACME: accounts with issuers, orders, answers to their challenges, and how all of that went."""
