"""The files of weights that the library knows: published trunks to fetch, and what comes with it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sshpe_lib import paths, trained
from sshpe_lib.data.documents import fingerprint
from sshpe_lib.errors import SSHPEError
from sshpe_lib.models import published, shipped, weights
from sshpe_lib.models.published import Weights


@dataclass(frozen=True)
class Known:
    """One file: its name, what it holds, its sha256 or the beginning of it, and where it is.

    path: None where it is not here yet; url: None where it ships with the library.
    """

    name: str
    note: str
    sha256: str
    path: Path | None
    url: str | None = None


def downloads() -> dict[str, Weights]:
    """The files that can be fetched, by name."""
    every = [*published.IMAGENET.values(), *published.IMAGENET_HRNET.values()]
    return {one.name: one for one in every}


def known() -> list[Known]:
    """Every file that ships with the library, and every published one."""
    listed = []
    for path in sorted((paths.params() / "weights").glob("*.safetensors")):
        listed.append(Known(path.name, _shipped(path), fingerprint(path), path))
    for name, one in downloads().items():
        place = _cache() / name
        listed.append(Known(name, one.note, one.sha256, place if place.exists() else None, one.url))
    return listed


def fetch(name: str) -> Path:
    """A verified local copy of a published file; a download that broke off goes on.

    Raises SSHPEError for an unknown name, and as `published.fetch`.
    """
    files = downloads()
    if name not in files:
        raise SSHPEError(f"no published weights {name!r}; choose one of: {', '.join(files)}")
    return published.fetch(files[name], _cache())


def verify(path: Path) -> str:
    """What a file of weights is, in words, once it is found sound.

    A published file must have its sha256, a shipped trunk that of its record; a network that `sshpe export`, `train` or
    `weights convert` wrote must load strictly; of any other file every tensor must be readable and finite.
    Raises SSHPEError where it is none of that.
    """
    path = Path(path)
    if (one := downloads().get(path.name)) is not None:
        published.verify(one, path)
        return f"{path}: {one.note}"
    if trained.is_network(path):
        made = trained.load(path)  # strictly, and every tensor finite
        return f"{path}: {made.experiment.model} of {len(made.skeleton)} keypoints, {made.about}"
    state = weights.load_state(path)
    weights.check_finite(state, path)
    if path.resolve().parent == (paths.params() / "weights").resolve():
        return f"{path}: {shipped.verified(path)['name']}, as its record says"
    return f"{path}: {len(state):,} tensors, all finite; nothing says what network they are of"


def _cache() -> Path:
    return paths.cache() / "weights"


def _shipped(path: Path) -> str:
    if trained.is_network(path):
        made = trained.load(path)
        return (
            f"{made.experiment.model}, trained on {made.learned_from}: what `sshpe predict` takes by default"
        )
    return f"{shipped.verified(path)['name']}: a trunk of the profiles quick and lsp"
