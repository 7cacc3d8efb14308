"""Hyper-parameter sweeps without a server: what to try, trying it, and what came out."""
