"""Published weights: where they are, and how they come here, verified."""

from __future__ import annotations

import hashlib
import http.client
import os
import shutil
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock
from tqdm import tqdm

from sshpe_lib.errors import SSHPEError

_CHUNK = 1 << 20
_TIMEOUT_SECONDS = 30


@dataclass(frozen=True)
class Weights:
    """A file of weights that can be downloaded.

    Args:
        url: its address; the last part of the path is the file's name.
        sha256: hexadecimal digest, or the first eight or more characters of it.
        note: what it holds and where it comes from.
    """

    url: str
    sha256: str
    note: str

    def __post_init__(self) -> None:
        """Refuse a digest too short to verify anything."""
        if len(self.sha256) < 8 or set(self.sha256) - set("0123456789abcdef"):
            raise SSHPEError(f"{self.url}: sha256 {self.sha256!r} is not eight or more lower-case hex digits")

    @property
    def name(self) -> str:
        """The file's name."""
        return Path(urllib.parse.urlparse(self.url).path).name


def _imagenet(depth: int, digest: str) -> Weights:
    url = f"https://download.pytorch.org/models/resnet{depth}-{digest}.pth"
    return Weights(url, digest, f"torchvision's ResNet-{depth}, ImageNet-1k V1: the papers' initial trunk")


IMAGENET: dict[int, Weights] = {
    18: _imagenet(18, "5c106cde"),
    34: _imagenet(34, "333f7ec4"),
    50: _imagenet(50, "19c8e357"),
    101: _imagenet(101, "5d3b4d8f"),
    152: _imagenet(152, "b121ed2d"),
}

_OPENMMLAB = "https://download.openmmlab.com/mmpose/pretrain_models"
_HRNET = "HRNet-W{}, ImageNet-1k, trained by its authors and hosted by OpenMMLab"

IMAGENET_HRNET: dict[int, Weights] = {
    32: Weights(f"{_OPENMMLAB}/hrnet_w32-36af842e.pth", "36af842e", _HRNET.format(32)),
    48: Weights(f"{_OPENMMLAB}/hrnet_w48-8ef0771d.pth", "8ef0771d", _HRNET.format(48)),
}


def fetch(weights: Weights, cache: Path, opener: Callable[..., Any] = urllib.request.urlopen) -> Path:
    """Path of a verified local copy, downloaded into `cache` where it is not there yet.

    A download that breaks off is continued by the next call. The file appears under its name only when
    complete and verified; processes that ask for it together download it once.

    Args:
        weights: what to fetch.
        cache: folder, made where missing.
        opener: called as `urllib.request.urlopen(request, timeout=...)`.

    Raises:
        SSHPEError: the address cannot be reached, the download broke off, or the hash is another one.
    """
    target = Path(cache) / weights.name
    if target.exists():  # also in a folder that others fill, and this user only reads
        verify(weights, target)
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(target.with_name(f".{weights.name}.lock")):
            if not target.exists():
                partial = target.with_name(f"{weights.name}.part")
                _download(weights, partial, target, opener)
                verify(weights, partial, discard=True)
                os.replace(partial, target)
    except OSError as error:
        raise SSHPEError(f"{cache} cannot be a folder for weights ({error}); name another") from error
    return target


def verify(weights: Weights, path: Path, *, discard: bool = False) -> None:
    """Compare a file with its published hash.

    discard: delete a file of another hash, as of a download; one that somebody put there stays. Raises SSHPEError where
    it is another one, or missing.
    """
    try:
        with open(path, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise SSHPEError(f"{path}: the file of weights cannot be read ({error})") from None
    if digest.startswith(weights.sha256):
        return
    if discard:
        path.unlink()
    cure = "the download was discarded; run again" if discard else "delete it to download it again"
    raise SSHPEError(f"{path}: sha256 is {digest}, but {weights.url} has {weights.sha256}; {cure}")


def _download(weights: Weights, partial: Path, target: Path, opener: Callable[..., Any]) -> None:
    """Bring `partial` to full length, from where it stands if the server can continue."""
    done = partial.stat().st_size if partial.exists() else 0
    request = urllib.request.Request(weights.url, headers={"Range": f"bytes={done}-"} if done else {})
    try:
        response = opener(request, timeout=_TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and done:
            return  # nothing is left to send: the hash tells whether this is the file
        raise _unreachable(weights, target, error) from error
    except (OSError, http.client.HTTPException) as error:
        raise _unreachable(weights, target, error) from error
    # file: and servers without ranges begin again
    continued = getattr(response, "status", None) == http.HTTPStatus.PARTIAL_CONTENT
    length = response.headers.get("Content-Length")
    try:
        with response, open(partial, "ab" if continued else "wb") as file:
            start = file.tell()
            total = None if length is None else start + int(length)
            with tqdm.wrapattr(
                file, "write", total, disable=None, desc=weights.name, initial=start, unit="B", unit_scale=True,
            ) as shown:  # fmt: skip
                shutil.copyfileobj(response, shown, _CHUNK)
            received = file.tell() - start
    except (OSError, http.client.HTTPException) as error:
        raise SSHPEError(f"{weights.url}: broke off ({error}); run again to continue") from error
    if length is not None and received < int(length):
        raise SSHPEError(f"{weights.url}: broke off at {received} of {length} bytes; run again to continue")


def _unreachable(weights: Weights, target: Path, error: Exception) -> SSHPEError:
    return SSHPEError(
        f"{weights.url} cannot be had ({error}); bring the file by other means and put it at {target} "
        f"(its sha256 begins {weights.sha256[:16]})"
    )
