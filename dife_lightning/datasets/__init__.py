"""Readers of annotated images: one class in each public file. `dife datasets` lists them."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
