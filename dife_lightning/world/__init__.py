"""The embedded face world: procedural faces of several species with exact geometric truth.

>>> from dife_lightning.world import render
>>> sample = render("dog", "val", 7, size=64)
>>> sample.image.shape, sample.points.shape
((64, 64, 3), (9, 2))
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
