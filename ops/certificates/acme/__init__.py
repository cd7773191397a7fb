"""The public certificate by ACME: accounts with issuers, orders, challenges, and when it is renewed."""
