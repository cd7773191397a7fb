"""What serves, how it is, where it is: inv status and inv open."""
