"""Mining of positive examples: which unlabelled faces may become labels, and which are dropped.

Meta-CSKT (ACM MM 2023) sorts the unlabelled faces once, before the training, by two numbers that need no labels:

* The **flip shift** (``shifts.py``): how far a model's points move if it sees the mirrored face. A large one shows that
  the model fails on the face.
* The **human shift** (``shifts.py``): how far the points of a model of human faces are from those of the model of
  animals. A small one shows an easy face, on which two models of different origin agree.

``split.py`` makes of them hard negatives, which are dropped; positives, which enter the pool of labels; and semi-hard
faces, which are used without labels alone. ``shift_csv.py`` reads and writes the shifts in the published form,
``label_pool.py`` holds the labels that the adaptation network gives to positives, and ``leaks.py`` keeps test faces
out. ``next_labels.py`` chooses photos for people to label, which is no part of Meta-CSKT.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
