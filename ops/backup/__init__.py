"""Backups: sets, keys, repositories, and the files of this host that go into them."""
