"""Layouts of public checkpoints: one file each, which converts it to our names and tensors."""
