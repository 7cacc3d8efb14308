"""Checkpoints of others: one file for each layout, which turns its content into names and tensors of ours."""
