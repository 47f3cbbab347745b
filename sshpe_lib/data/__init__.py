"""Data: files and renderers in, samples and batches out."""
