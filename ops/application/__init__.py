"""The contract between the stack and an application: checked, and a new application made from the reference."""
