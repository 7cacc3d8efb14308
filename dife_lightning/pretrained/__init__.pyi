from .converting import convert as convert
from .embedders import Embedder as Embedder
from .embedders import load_embedder as load_embedder
from .formats.cats import load_cats as load_cats
from .formats.hourglass import to_official as to_official
from .generators import Generator as Generator
from .generators import load_generator as load_generator
from .generators import save_generator as save_generator
