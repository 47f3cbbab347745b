"""One group of people and what the augmentations make of it: the data of Pose-MUM's Figures 1 and 2, and AID's 1."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from sshpe_lib import parts, tables
from sshpe_lib.augment import tiles as tile_order
from sshpe_lib.augment.draw import Draw
from sshpe_lib.augment.joint_cutout import JointCutout
from sshpe_lib.augment.meeting import probability_of_meeting, slots_of_tiles, tiles_that_meet, together
from sshpe_lib.augment.mum import Mix, PoseMUM
from sshpe_lib.augment.pixels import denormalize, normalize
from sshpe_lib.augment.view import Strong, View
from sshpe_lib.codec import MSRAHeatmap
from sshpe_lib.config import Data, Experiment
from sshpe_lib.data import sources
from sshpe_lib.data.top_down import CropBatch
from sshpe_lib.errors import SSHPEError, whole_number
from sshpe_lib.report.meeting import Connections, Meetings, Stage
from sshpe_lib.report.mixing import Group, StrongViews, check_colors
from sshpe_lib.seeding import numpy_stream, torch_stream
from sshpe_lib.skeleton import Skeleton

_PAIRS = 2**24  # of tiles that are looked at together: many small tiles have more than fit the memory


def strong_views(
    profile: str = "quick", *, group: int = 4, tiles: tuple[int, int] = (4, 3), seed: int = 0
) -> StrongViews:
    """A group of a profile's people after Joint Cutout, after MUM, and unmixed again.

    Joint Cutout finds the joints in heatmaps that the codec draws at the true ones: a teacher that is always
    right. The crops are plain, without the easy view's random scale, rotation and mirror.
    tiles: rows and columns; seed: of the choice of people and of every draw.
    Raises SSHPEError: no such profile, data that is not on this machine, a crop that the tiles do not divide,
    a group that is too large for the figure, or fewer whole people than it wants.
    """
    experiment = _experiment(profile, group, tiles)
    crops, skeleton = _crops(experiment, group, seed)
    size, maps = experiment.data.input_size, experiment.data.heatmap_size
    heatmaps, _ = MSRAHeatmap(size, maps, experiment.data.sigma).encode(crops.points, crops.visible)
    image, draw = normalize(crops.image), Draw(torch_stream("figure", seed))
    cut, _ = JointCutout()(View(image), heatmaps, draw)
    mix = PoseMUM(group=group, tiles=tiles).draw(group, draw)
    mixed = mix.image(image)
    return StrongViews(
        group=_group(crops, experiment.data, skeleton, tiles, profile),
        cut=_pixels(cut.image, experiment.data),
        covered=(cut.image != image).any(1).numpy(),
        mixed=_pixels(mixed, experiment.data),
        sources=mix.at_image.permute(2, 0, 1).numpy(),
        unmixed=_pixels(mix.after_stage(mix.mum.unmix, mixed), experiment.data),
    )


def connections(
    profile: str = "quick",
    *,
    group: int = 4,
    tiles: tuple[int, int] = (4, 3),
    sites: str | Sequence[str] = ("layer1", "layer3"),
    seed: int = 0,
) -> Connections:
    """The same people, and where their tiles are in one forward pass of Pose-MUM that mixes at every site.

    sites: stages after which features are mixed, in the network's order, one by one or in a text with spaces. No
    network is needed: features follow their tiles. Raises SSHPEError as `strong_views`, and for sites that the
    configuration refuses.
    """
    sites = sites.split() if isinstance(sites, str) else sites
    experiment = _experiment(profile, group, tiles, sites)
    crops, skeleton = _crops(experiment, group, seed)
    mum = PoseMUM(group=group, tiles=tiles, sites=tuple(sites), probability=1.0)
    mix = mum.draw(group, Draw(torch_stream("figure", seed)))
    return Connections(_group(crops, experiment.data, skeleton, tiles, profile), _stages(mix))


# AID's Figure 1, in its order: what a way to drop information is called there, and the method that trains with it.
DROPPING = {
    "Random Erasing": "aid-erasing", "Cutout": "aid-cutout", "Hide-and-Seek": "aid-has", "GridMask": "aid-gridmask",
}  # fmt: skip


def dropped_views(profile: str = "quick", *, count: int = 4, seed: int = 0) -> list[tuple[str, np.ndarray]]:
    """Some of a profile's people as they are, and after each way to drop information, with the settings of training.

    seed: of the choice of people and of every draw. Returns a name and the crops, (count, H, W, 3) uint8, for
    `report.dropping.dropped_people`. A method that leaves some images whole shows them whole.
    Raises SSHPEError: no such profile, data that is not on this machine, or fewer whole people than `count`.
    """
    experiments = {
        name: tables.experiment(profile, method, backbone="hrnet-w32", amount="all", protocol="aid")
        for name, method in DROPPING.items()
    }
    first = next(iter(experiments.values()))
    crops, _ = _crops(first, count, seed)
    image = normalize(crops.image)
    shown = [("original", image)]
    for name, experiment in experiments.items():
        drop = Strong(parts.dropping_of(experiment).operations)
        view, _ = drop(image, image, Draw(torch_stream("dropping figure", seed)))
        shown.append((name, view.image))
    return [(name, _pixels(images, first.data)) for name, images in shown]


def meetings(
    group: int = 4, tiles: tuple[int, int] = (4, 3), *, stages: int = 4, groups: int = 2000, seed: int = 0
) -> Meetings:
    """How often two tiles of a person have met after 1 to `stages` mixes, over every pair and every person.

    groups: how many groups of `group` people are drawn.
    Raises SSHPEError where a group has no two people, a person no two tiles, or nothing is drawn.
    """
    count = tiles[0] * tiles[1]
    if group < 2 or min(tiles) < 1 or count < 2 or min(groups, stages) < 1:
        raise SSHPEError(
            f"{groups} groups of {group} people, tiles {tiles}, {stages} stages: give groups of at least 2 people, "
            "at least 2 tiles, and at least one group and stage"
        )
    sites = tuple(f"mix {number}" for number in range(2, stages + 1))
    mix = PoseMUM(group=group, tiles=tiles, sites=sites, probability=1.0).draw(
        groups * group, Draw(torch_stream("meetings", seed))
    )
    slots = torch.stack([slots for _, slots in slots_of_tiles(mix)])
    people, found = slots.shape[1], np.zeros(stages)
    for some in slots.split(max(1, _PAIRS // count**2), dim=1):
        met = torch.zeros((), dtype=torch.bool)
        for number, now in enumerate(some):
            met = met | together(now)
            found[number] += met.count_nonzero().item()
    measured = (found - people * count) / (people * count * (count - 1))  # a tile is no pair with itself
    expected = [probability_of_meeting(group, number) for number in range(1, stages + 1)]
    return Meetings(group, groups, measured, np.array(expected))


def _stages(mix: Mix) -> tuple[Stage, ...]:
    """The arrangement after every mix, slots first, and which tiles are together in it."""
    source, made = mix.at_image, []
    for name, meeting in tiles_that_meet(mix):
        if name != "image":
            source = tile_order.compose(source, mix.at_stage[name])
        made.append(Stage(name, source.permute(2, 0, 1).numpy(), meeting.numpy()))
    return tuple(made)


def _experiment(profile: str, group: int, tiles: tuple[int, int], sites: Sequence[str] = ()) -> Experiment:
    """Pose-MUM on a profile with this mix, which the configuration checks, such as tiles that do not fit.

    A group that the figures cannot show is refused here, before its people are drawn.
    """
    check_colors(whole_number("group", group, 2))
    tiles = whole_number("rows", tiles[0], 1), whole_number("columns", tiles[1], 1)
    mum = {"kind": "mum", "group": group, "tiles": tiles, "sites": sites, "probability": 1.0}
    return tables.experiment(profile, "pose-mum", set={"augment.strong": [mum], "train.batch_size": group})


def _crops(experiment: Experiment, count: int, seed: int) -> tuple[CropBatch, Skeleton]:
    """Plain crops of `count` people of the unlabelled pool that have every joint inside their box."""
    count, seed = whole_number("count", count, 1), whole_number("seed", seed, 0)
    data = experiment.data
    people = sources.instances(data.unlabeled or data.labeled)
    points, boxes = people.keypoints, people.boxes[:, None]
    inside = (points[..., :2] >= boxes[..., :2]) & (points[..., :2] <= boxes[..., :2] + boxes[..., 2:])
    whole = np.flatnonzero((inside.all(-1) & (points[..., 2] > 0)).all(-1))
    if len(whole) < count:
        raise SSHPEError(
            f"{people.source}: {len(whole)} people have every joint inside their box, and the group wants {count}; "
            "ask for a smaller group"
        )
    chosen = numpy_stream("figure people", seed).permutation(whole)[:count]
    return parts.crops_of(data, people.select(chosen)).batch(range(count)), people.skeleton


def _group(crops: CropBatch, data: Data, skeleton: Skeleton, tiles: tuple[int, int], profile: str) -> Group:
    images = _shown(crops.image, data)
    return Group(
        images, crops.points.numpy(), skeleton, tiles, f"{len(images)} people of the profile {profile}"
    )


def _pixels(normalized: Tensor, data: Data) -> np.ndarray:
    """Normalised images, (N, 3, H, W), as (N, H, W, 3) uint8 RGB."""
    return _shown(denormalize(normalized), data)


def _shown(images: Tensor, data: Data) -> np.ndarray:
    """Images of the data's order of channels, (N, 3, H, W) uint8, as (N, H, W, 3) RGB."""
    return (images.flip(1) if data.color == "bgr" else images).permute(0, 2, 3, 1).numpy()
