"""Hard cases: people chosen by a rule that looks at no prediction."""

from __future__ import annotations

import numpy as np

from sshpe_lib.data.instances import Instances


def hardest(instances: Instances, count: int, labeled: int = 8) -> np.ndarray:
    """The people with the largest share of occluded joints (v = 1) among their labelled ones, (<= count,) int64.

    labeled: how many labelled joints a person needs to be looked at. Equal shares go by annotation id. The result
    is shorter where fewer people have so many labels and any joint occluded.
    """
    flags = instances.keypoints[..., 2]
    known = (flags > 0).sum(1)
    share = (flags == 1).sum(1) / np.maximum(known, 1)
    order = np.lexsort((instances.annotation_ids, -share))
    return order[(known >= labeled)[order] & (share > 0)[order]][:count]
