"""Losses as pure functions of tensors. A loss knows no trainer."""
