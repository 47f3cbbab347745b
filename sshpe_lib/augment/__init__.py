"""Augmentations of a batch on its own device: the strong views of the student."""
