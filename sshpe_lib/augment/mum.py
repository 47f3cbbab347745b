"""MUM and Pose-MUM: mix tiles across a group of images, mix features again on the way, unmix once.

MUM is Pose-MUM with no sites (Sec. 3.1 and 3.2 of Pose-MUM).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from sshpe_lib.augment import tiles
from sshpe_lib.augment.draw import Draw
from sshpe_lib.augment.limits import check_choice, check_count, check_limits
from sshpe_lib.augment.view import View
from sshpe_lib.errors import SSHPEError
from sshpe_lib.models.stages import Features


@dataclass(frozen=True)
class PoseMUM:
    """Which images are mixed, where, and where the mix is undone.

    group: N_G, consecutive images that exchange tiles; tiles: (N_T,h, N_T,w), rows and columns; sites: stages
    after which features may be mixed again, in the network's order; unmix: the stage after which one gather
    with the inverse of the composed mask restores every image (the composition of the stacked masks, undone
    in reverse order, is that one permutation).

    Sec. 3.2 leaves open how the sites of a forward pass are chosen. stages "independent": each by its own
    toss with `probability`; "uniform": first how many, uniform over 0 to all of them, then which, uniformly
    (`probability` has no part in it). With fair coins and three sites 0, 1, 2 or 3 are mixed in 1, 3, 3 and 1
    of 8 passes, with "uniform" in 2 of 8 each. toss "batch": one choice for the global batch; "group": one
    for every group, and a group that is not mixed at a site keeps its arrangement there.

    Raises:
        SSHPEError: `stages` or `toss` is none of these, a number of tiles or of images is not whole or below 1, tiles
            are not two numbers, a probability is outside [0, 1], `sites` is a string, or a site is named twice or is
            the unmix.
    """

    group: int = 4
    tiles: tuple[int, int] = (4, 3)
    unmix: str = "layer4"
    sites: tuple[str, ...] = ()
    probability: float = 0.5
    stages: Literal["independent", "uniform"] = "independent"
    toss: Literal["batch", "group"] = "batch"

    def __post_init__(self) -> None:
        check_count("Pose-MUM's group", self.group)
        if not isinstance(self.tiles, Sequence) or len(self.tiles) != 2:
            raise SSHPEError(f"Pose-MUM's tiles are {self.tiles!r}; give two numbers, rows and columns")
        for number in self.tiles:
            check_count("Pose-MUM's number of tiles", number)
        if isinstance(self.sites, str):
            raise SSHPEError(f"Pose-MUM's sites are {self.sites!r}; give a tuple, ({self.sites!r},)")
        if len({*self.sites, self.unmix}) <= len(self.sites):
            raise SSHPEError(
                f"Pose-MUM mixes after {', '.join(self.sites)} and unmixes after {self.unmix}; name each stage once"
            )
        check_limits("Pose-MUM's probability", (self.probability,), 0, 1)
        check_choice("Pose-MUM's stages", self.stages, ("independent", "uniform"))
        check_choice("Pose-MUM's toss", self.toss, ("batch", "group"))

    def __call__(self, view: View, heatmaps: Tensor, draw: Draw) -> tuple[View, Tensor]:
        """Mix the view's images; its features are mixed and unmixed on the way; the heatmaps stay.

        Raises SSHPEError after another mix, and as `Mix.image`.
        """
        if view.after_stage is not None:
            raise SSHPEError(
                "a view is mixed twice, and only the last mix would be undone; use its sites to mix again"
            )
        mix = self.draw(len(view.image), draw)
        return View(mix.image(view.image), mix.after_stage, mix.finish), heatmaps

    def draw(self, batch: int, draw: Draw) -> Mix:
        """Draw every mask of one forward pass of `batch` images, on the draw's device."""
        mixed = self._choose(batch // self.group, draw)
        at_image = self._mask(batch, draw)
        if self.toss == "batch":
            at_stage = {site: self._mask(batch, draw) for site in self.sites if mixed[site]}
        else:
            at_stage = {
                site: self._only(mixed[site], self._mask(batch, draw))  # type: ignore[arg-type]  # for each group
                for site in self.sites
            }
        composed = at_image
        for mask in at_stage.values():
            composed = tiles.compose(composed, mask)
        masks = torch.stack([at_image, *at_stage.values(), composed])
        # With what undoes each, so that a GPU computes none; slot by slot in memory, as a gather reads them.
        pairs = torch.stack([masks, tiles.inverse(masks)], dim=1).permute(0, 1, 4, 2, 3).contiguous()
        (pairs,) = draw.send(pairs)
        at_image, *at_stages, composed = pairs.permute(0, 1, 3, 4, 2)
        return Mix(self, at_image, dict(zip(at_stage, at_stages, strict=True)), composed)

    def _choose(self, groups: int, draw: Draw) -> dict[str, bool | Tensor]:
        """Whether each site is mixed: for the batch, or for each of this rank's groups, (groups,) bool.

        "uniform" is drawn site by site, as Polya's urn: where m of the n sites before were mixed, the next is
        with probability (m + 1) / (n + 2), which makes every number of mixed sites, and every subset of one
        size, equally likely.
        """
        mixed: dict[str, bool | Tensor] = {}
        count = 0
        for before, site in enumerate(self.sites):
            chance = self.probability if self.stages == "independent" else (count + 1) / (before + 2)
            mixed[site] = draw.coin(chance) if self.toss == "batch" else draw.rand(groups) < chance
            count = count + mixed[site]  # type: ignore[assignment]  # of the batch, or of each group
        return mixed

    def _only(self, groups: Tensor, mask: Tensor) -> Tensor:
        """The mask in the chosen groups, and the identity elsewhere; groups: (groups,) bool."""
        batch = mask.shape[-1]
        chosen = torch.zeros(batch, dtype=torch.bool)
        chosen[: len(groups) * self.group] = groups.repeat_interleave(self.group)
        return torch.where(chosen, mask, torch.arange(batch))

    def _mask(self, batch: int, draw: Draw) -> Tensor:
        """(rows, cols, batch): for every group and tile an independent uniform permutation of its slots.

        A remainder that does not fill a group (the last batch of an epoch) is left where it is.
        """
        rows, cols = self.tiles
        full = batch - batch % self.group
        order = draw.rand(batch, rows, cols).permute(1, 2, 0)[..., :full]
        within = order.reshape(rows, cols, -1, self.group).argsort(-1)
        first = torch.arange(0, full, self.group)[:, None]
        rest = torch.arange(full, batch).expand(rows, cols, -1)
        return torch.cat([(within + first).flatten(-2), rest], dim=-1)


class Mix:
    """The masks of one forward pass: slot b's tile (r, c) is that of slot `at_image[r, c, b]`, and so at every stage.

    A pass is `image`, `after_stage` for every stage that the network comes to, and `finish`.

    Made of masks with their inverses, each (2, rows, cols, B): of the images, of every site that is mixed, and of all
    of them one after the other.
    """

    def __init__(self, mum: PoseMUM, at_image: Tensor, at_stage: dict[str, Tensor], mixed: Tensor):
        self.mum, self.at_image = mum, at_image[0]
        self.at_stage = {name: pair[0] for name, pair in at_stage.items()}
        self._back = {name: pair[1] for name, pair in at_stage.items()}
        self._mixed, self._unmixed = mixed
        self._passed: list[str] = []  # stages, in the order in which the network came to them

    def image(self, images: Tensor) -> Tensor:
        """Mix a batch of images, (B, C, H, W).

        Raises SSHPEError where the tiles do not divide them, and as `tiles.permute`.
        """
        rows, cols = self.mum.tiles
        height, width = images.shape[-2:]
        if height % rows or width % cols:
            raise SSHPEError(
                f"MUM cannot cut a {width}x{height} image (width x height) into {cols} columns x {rows} rows of "
                f"equal tiles; choose an input size that {cols}x{rows} divides, or other tiles"
            )
        self._passed.clear()
        return tiles.permute(images, self.at_image)

    def after_stage(self, name: str, features: Features) -> Features:
        """Mix or unmix the features of stage `name`: one map, or several in a list, tuple or dict that share the mask.

        Raises:
            SSHPEError: the network comes to a site after the unmix, or to a stage before those that `PoseMUM` names
                before it; the features hold what is no tensor; and as `tiles.permute`.
        """
        self._come(name)
        if name in self.at_stage:
            features = _permute(features, self.at_stage[name], self._back[name])
        if name == self.mum.unmix:
            features = _permute(features, self._unmixed, self._mixed)
        return features

    def finish(self) -> None:
        """End the network's pass; the same images may have another one.

        Raises:
            SSHPEError: the network did not come to the unmix, and what it answered is mixed.
        """
        if self.mum.unmix not in self._passed:
            raise self._out_of_order()
        self._passed.clear()

    def _come(self, name: str) -> None:
        """Raises SSHPEError out of order, whether or not this pass mixes there: a mistake shows in the first one."""
        self._passed.append(name)
        order = (*self.mum.sites, self.mum.unmix)
        if name not in order:
            return
        late = name in self.mum.sites and self.mum.unmix in self._passed
        if late or not set(order[: order.index(name)]) <= set(self._passed):
            raise self._out_of_order()

    def _out_of_order(self) -> SSHPEError:
        return SSHPEError(
            f"Pose-MUM mixes after {', '.join(self.mum.sites) or 'no stage'} and unmixes after {self.mum.unmix}, and "
            f"the network came to {', '.join(self._passed) or 'no stage'}; name stages of the network, in its order"
        )


def _permute(features: Features, source: Tensor, back: Tensor) -> Features:
    """One map, or all of several alike, which stay what they were: a list, a tuple, a dict."""

    def moved(one: object) -> Tensor:
        if not isinstance(one, Tensor):
            raise SSHPEError(
                f"a mix takes a stage's maps, one or several, and meets an object of {type(one).__name__}; mix after a "
                "stage that gives tensors alone"
            )
        return tiles.permute(one, source, back)

    return tree_map(moved, features)
