"""From an experiment's data sources to instances on disk."""

# No `from __future__ import annotations` here: it would bind the name of the function below.

from pathlib import Path

from sshpe_lib import paths, records
from sshpe_lib.config import CocoSource, Data, Experiment, Source, SyntheticSource
from sshpe_lib.data import ai_challenger, coco, unlabelled
from sshpe_lib.data.faults import bad_input, refuse
from sshpe_lib.data.images import find_images
from sshpe_lib.data.instances import Instances
from sshpe_lib.data.synthetic import VERSION, SyntheticPeople, build
from sshpe_lib.data.whole_images import WholeImages
from sshpe_lib.data.whole_images import load as load_whole_images
from sshpe_lib.errors import SSHPEError
from sshpe_lib.skeleton import Skeleton


def own(annotations: Path, images: Path | None = None, category: str | int | None = None) -> CocoSource:
    """A COCO-format keypoint file of one's own.

    images: their folder, found beside the file where left out; category: as of `coco.load_instances`.
    Raises SSHPEError where the file cannot be read, and where the images are looked for, for anything in it that
    `sshpe data check` calls fatal, or if they are not beside it.
    """
    annotations = Path(annotations).absolute()
    if images is None:
        parsed = coco.parse(annotations, category)
        refuse(parsed.faults)  # names of images among them, by which the folder is looked for
        names = parsed.images.names
        images = find_images(annotations, names)
        if images is None:
            problem = f"its images ({names[0] if names else 'none is listed'}) are not beside it"
            raise bad_input(annotations, "images", problem, "name their folder by --images")
    folder = str(Path(images).absolute())
    return CocoSource(kind="coco", annotations=str(annotations), images=folder, category=category)


def category(source: Source) -> str | int | None:
    """Which of a file's categories a source means; None where that is the usual one."""
    return source.category if isinstance(source, CocoSource) else None


def annotations(source: Source) -> Path:
    """The annotation file of a source, rendered first where the people are synthetic and not in the cache."""
    if source.kind == "synthetic":
        return build(people(source), paths.drawn())
    return resolve(source.annotations)


def people(source: SyntheticSource) -> SyntheticPeople:
    """The renderer's own description of a synthetic source. Raises SSHPEError for another renderer's version."""
    if source.version != VERSION:
        raise SSHPEError(
            f"the experiment wants synthetic people of renderer version {source.version}, this code renders version "
            f"{VERSION}; check out the commit its record names, or run the experiment anew"
        )
    return SyntheticPeople(**source.model_dump(exclude={"kind", "version"}))


def resolve(path: str) -> Path:
    """An absolute path; a relative one starts at the data folder. Raises SSHPEError where that is not set."""
    if Path(path).is_absolute():
        return Path(path)
    folder = paths.data()
    if folder is None:
        raise SSHPEError(f"{path}: where is the data? Set SSHPE_DATA to the folder that holds {path}")
    return folder / path


def instances(source: Source) -> Instances:
    """Every valid person of a source."""
    if source.kind == "synthetic":
        file = annotations(source)
        return coco.load_instances(file, file.parent / "images")
    if source.kind == "ai_challenger":
        return ai_challenger.load_instances(resolve(source.annotations), resolve(source.images))
    return coco.load_instances(
        resolve(source.annotations),
        resolve(source.images),
        detections=resolve(source.detections) if source.detections else None,
        category=source.category,
    )


def skeleton(source: Source) -> Skeleton:
    """The keypoints of a source's people."""
    if isinstance(source, SyntheticSource | CocoSource):
        return coco.parse(annotations(source), category(source)).skeleton
    return instances(source).skeleton


def whole_images(source: Source) -> WholeImages:
    """Every image of a source, with or without people. Raises SSHPEError for people who only teach."""
    source = _measurable(source)
    if source.kind == "synthetic":
        file = annotations(source)
        return load_whole_images(file, file.parent / "images")
    if source.detections:
        raise SSHPEError(
            f"{source.detections}: a bottom-up network needs no detected boxes; leave data.val.detections out"
        )
    return load_whole_images(resolve(source.annotations), resolve(source.images), source.category)


def unlabelled_people(source: Source) -> unlabelled.Unlabelled:
    """What training on a source's whole images must not take for background; nothing where its file tells of none."""
    if isinstance(source, SyntheticSource | CocoSource):
        return unlabelled.unlabelled_people(annotations(source), category(source))
    return {}


def ground_truth(source: Source) -> dict:
    """The parsed annotation file of a source, for evaluation.

    Raises SSHPEError for people who only teach, and where COCO's measures, which ignore crowds and people without a
    counted joint, ignore everybody: there is no AP then.
    """
    file = annotations(_measurable(source))
    truth = coco.ground_truth(file, category(source))
    if all(person["iscrowd"] or person["num_keypoints"] == 0 for person in truth["annotations"]):
        raise SSHPEError(
            f"{file}: nobody to measure on: it has no annotation but of crowds and of people with num_keypoints 0; "
            "count the labelled joints anew (leave num_keypoints out), or measure on another file"
        )
    return truth


def _measurable(source: Source) -> SyntheticSource | CocoSource:
    """A source whose file is in COCO's format, which measures read."""
    if isinstance(source, SyntheticSource | CocoSource):
        return source
    raise SSHPEError(
        f"{source.annotations}: people of kind {source.kind!r} are learned from, not measured on; for data.val give "
        "people of kind 'coco' or 'synthetic'"
    )


def pin(experiment: Experiment) -> Experiment:
    """The experiment, and the one it starts from, with the fingerprint of every annotation file filled in.

    Where there is no data folder, the fingerprints are those of the committed record of this very experiment:
    what was measured can be looked at without its data. Raises SSHPEError where a file is missing, where it is
    not the one the experiment pins, or where there is neither data nor record.
    """
    files = [source for source in _sources(experiment).values() if source.kind != "synthetic"]
    if paths.data() is None and not all(Path(source.annotations).is_absolute() for source in files):
        return _as_recorded(experiment)
    return _with_sources(
        experiment, {role: pin_source(source, role) for role, source in _sources(experiment).items()}
    )


def _sources(experiment: Experiment) -> dict[str, Source]:
    roles = ("labeled", "extra", "unlabeled", "val")
    return {
        role: getattr(experiment.data, role) for role in roles if getattr(experiment.data, role) is not None
    }


def _with_sources(experiment: Experiment, sources: dict[str, Source]) -> Experiment:
    """The experiment with other sources, in the stage it starts from too: all stages learn from the same people."""
    update: dict[str, Data | Experiment] = {"data": experiment.data.model_copy(update=sources)}
    if experiment.start is not None:
        update["start"] = _with_sources(experiment.start, sources)
    return experiment.model_copy(update=update)


def _as_recorded(experiment: Experiment) -> Experiment:
    """The experiment of a record that has every fingerprint this one has, and otherwise differs in none but those."""
    wanted = _sources(experiment)
    for record in records.read_all(paths.records()):
        if record.experiment.train != experiment.train:
            continue  # as most do: compared first, for it copies nothing
        found = _sources(record.experiment)
        if found.keys() == wanted.keys() and _with_sources(record.experiment, wanted) == experiment:
            pairs = [(wanted[role], found[role]) for role in wanted]
            if all(_same_files(ours, theirs) for ours, theirs in pairs):
                return _with_sources(experiment, found)
    places = [source.annotations for source in wanted.values() if source.kind != "synthetic"]
    raise SSHPEError(
        f"{', '.join(dict.fromkeys(places))}: where is the data? Set SSHPE_DATA to the folder that holds it"
    )


def _same_files(ours: Source, theirs: Source) -> bool:
    """Whether two sources name the same files, and the fingerprints that `ours` has are those of `theirs`."""
    known = {n: v for n, v in ours.model_dump().items() if v is not None or not n.endswith("fingerprint")}
    return theirs.model_dump() == theirs.model_dump() | known


def pin_source(source: Source, role: str) -> Source:
    """The source with the fingerprints of its files filled in.

    role: what an experiment's data calls it, such as "val". Raises SSHPEError where a file is missing, or is not the
    one that the source pins.
    """
    if source.kind == "synthetic":
        return source
    update = {"fingerprint": _fingerprint(source.annotations, source.fingerprint, f"data.{role}.fingerprint")}
    if isinstance(source, CocoSource) and source.detections:
        name = f"data.{role}.detections_fingerprint"
        update["detections_fingerprint"] = _fingerprint(
            source.detections, source.detections_fingerprint, name
        )
    return source.model_copy(update=update)


def _fingerprint(path: str, expected: str | None, name: str) -> str:
    found = coco.fingerprint(resolve(path))
    if expected and found != expected:
        raise SSHPEError(
            f"{resolve(path)}: sha256 {found[:12]}... is not {expected[:12]}..., which {name} pins; use that file, or "
            f"leave {name} out to run on this one as another experiment"
        )
    return found
