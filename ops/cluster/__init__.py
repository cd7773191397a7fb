"""The commands of this repository on a Kubernetes cluster."""
