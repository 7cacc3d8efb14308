from .dense_match import DenseMatch as DenseMatch
from .dense_match import match as match
from .face_crops import FaceCrop as FaceCrop
from .face_crops import crop_face as crop_face
from .finding import FaceFinder as FaceFinder
from .finding import load_finder as load_finder
