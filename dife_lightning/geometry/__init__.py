"""Coordinates, warps, crops and thin-plate splines. One convention: (x, y) in pixels, pixel centres at integers."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
