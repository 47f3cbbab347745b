"""One file, one readable training step."""
