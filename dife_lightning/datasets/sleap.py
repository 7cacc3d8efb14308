"""SLEAP: labelled pictures of a ``.slp`` file, read with sleap-io."""

from __future__ import annotations

import importlib
import math
from pathlib import Path
from typing import Any

from dife_lightning.datasets.parsing.files import FaceFiles, only_file, root_folder
from dife_lightning.datasets.parsing.labels import LabelledFace, Labels, below, labelled_table
from dife_lightning.datasets.parsing.own_points import GivenScheme
from dife_lightning.datasets.parsing.table import Fault, Faults
from dife_lightning.datasets.parsing.turned import PointsOf
from dife_lightning.errors import ConfigError, DataError, reason_of

DATASET = "Sleap"


class Sleap(FaceFiles):
    """Pictures labelled in SLEAP; the nodes of the skeleton are the scheme, its symmetries the mirror pairs.

    The labels must be on picture files. For frames of a video, ``sio convert labels.slp -o FOLDER --to ultralytics``
    writes pictures that ``yolo-pose`` reads. Needs the extra ``sleap``.

    Args:
        root: folder of the file and the pictures.
        file: the ``.slp`` file; by default the only one of the root.
        scheme: landmark scheme, by name or as a YAML file; by default the nodes' names.
        predictions: read predicted instances, too, of pictures without labels of a person.
        images: folder of the pictures, if they have moved; by default ``root`` itself.
        skip_broken: skip faces that cannot be used; see ``left_out``.
        points_of: which picture the points are of, where its EXIF header turns it: ``shown`` (as viewers show it, the
            default) or ``stored``.
    """

    name = "sleap"

    def __init__(
        self,
        root: str | Path,
        file: str = "",
        scheme: GivenScheme = None,
        predictions: bool = False,
        images: str = "",
        skip_broken: bool = False,
        points_of: PointsOf = "auto",
    ) -> None:
        folder, faults, labels = root_folder(root), Faults(skip_broken), Labels()
        path = folder / file if file else only_file(folder, "*.slp", "file of SLEAP")
        content = _load(path)
        for skeleton in content.skeletons:
            labels.names = list(dict.fromkeys([*labels.names, *skeleton.node_names]))
            pairs = [sorted(node.name for node in symmetry.nodes) for symmetry in skeleton.symmetries]
            labels.mirror = [*(labels.mirror or []), *((a, b) for a, b in pairs)] or None
        for number, frame in enumerate(content.labeled_frames):
            source = f"{below(path, folder)}, labelled frame {number}"
            with faults.at(f"{folder}/{source}"):
                _add(labels, frame, folder / images, source, predictions)
        self.scheme, table = labelled_table(labels, folder, scheme, faults, images)
        facts = {"file": file, "scheme": str(scheme or ""), "predictions": predictions}
        super().__init__(table, faults, facts, points_of)


def _load(path: Path) -> Any:
    try:
        sleap_io = importlib.import_module("sleap_io")
    except ImportError as error:
        raise ConfigError(
            f"SLEAP files need the package sleap-io ({reason_of(error)}); type: pip install 'dife-lightning[sleap]'"
        ) from None
    if not path.is_file():
        raise DataError(f"no file {path}. Check the root folder, or give it with --file.")
    try:
        return sleap_io.load_slp(str(path), open_videos=False)
    except Exception as error:  # sleap-io passes on whatever h5py and its own parsing raise
        raise DataError(f"{path} cannot be read as a file of SLEAP ({reason_of(error)}).") from None


def _add(labels: Labels, frame: Any, folder: Path, source: str, predictions: bool) -> None:
    people, guessed = list(frame.user_instances), list(frame.predicted_instances)
    if not people and guessed and not predictions:
        labels.notes["pictures with predictions alone passed over (--predictions true)"] += 1
        return
    image = _picture(frame, folder)
    for number, instance in enumerate(people or guessed, 1):
        places = zip(instance.skeleton.node_names, instance.numpy().tolist(), strict=True)
        points = {name: (x, y) for name, (x, y) in places if math.isfinite(x) and math.isfinite(y)}
        track = instance.track.name if instance.track else str(number)
        labels.faces.append(LabelledFace(image, points, source, instance=track))


def _picture(frame: Any, folder: Path) -> str:
    """Return the picture of a frame, relative to ``folder`` if it is in it."""
    files = frame.video.filename
    if not isinstance(files, list):
        raise Fault(
            f"frame {frame.frame_idx} is in {Path(str(files)).name}, expected a picture file; write pictures with "
            "`sio convert labels.slp -o FOLDER --to ultralytics` and read them with yolo-pose"
        )
    image = str(files[frame.frame_idx]).replace("\\", "/")
    inside = Path(image).is_absolute() and Path(image).is_relative_to(folder.absolute())
    return below(Path(image), folder.absolute()) if inside else image
