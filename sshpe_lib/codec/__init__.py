"""Keypoints to heatmaps and back, batched on the points' or heatmaps' device.

A codec is a small frozen value: the sizes of crop and heatmap, and the shape of a target. `encode` makes
training targets, `decode` reads a network's heatmaps; both speak crop pixels. `stride`, `unbiased`, `channels`,
`flip` and `loss` are what a trainer and an evaluator need beside them, whichever codec they are given.
"""

from sshpe_lib.codec.dark import dark_refine
from sshpe_lib.codec.msra import MSRAHeatmap
from sshpe_lib.codec.peaks import highest_pixels
from sshpe_lib.codec.udp import UDPHeatmap

Codec = MSRAHeatmap | UDPHeatmap

__all__ = ["Codec", "MSRAHeatmap", "UDPHeatmap", "dark_refine", "highest_pixels"]
