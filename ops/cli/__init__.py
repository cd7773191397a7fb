"""The terminal: how a command is declared, options, prompts, tables, progress, errors and exit codes."""
