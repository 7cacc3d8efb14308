"""DIFE (Dense Interspecies Face Embedding) and keypoint transfer between faces of different species.

The public names stand in ``__init__.pyi``, here and in the rooms below, and are imported on first use, so that
``import dife_lightning`` loads neither torch nor Lightning.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
