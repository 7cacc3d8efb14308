from .exploration import ExplorationOptions as ExplorationOptions
from .exploration import explore as explore
from .inversion import Inversion as Inversion
from .inversion import invert as invert
from .pseudo_pairs import PairBank as PairBank
from .pseudo_pairs import PseudoPairs as PseudoPairs
from .pseudo_pairs import synthesize_pairs as synthesize_pairs
