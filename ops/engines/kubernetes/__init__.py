"""A Kubernetes cluster as the place where the stack runs."""
