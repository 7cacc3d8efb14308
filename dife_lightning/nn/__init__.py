"""Networks as plain ``nn.Module``; they know neither Lightning nor data."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
