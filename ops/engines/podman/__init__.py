"""The stack on one Linux host with Podman: argv, reads, containers, networks, the health supervisor."""
