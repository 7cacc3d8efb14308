"""The page of `dife serve`: photos side by side, a point on one of them found on all others."""
