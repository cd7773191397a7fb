"""The host itself: what it has, what it lacks, which accounts and owners it has, the systemd unit."""
