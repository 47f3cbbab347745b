"""CUDA graphs: the passes of a training step are recorded once, and then given to the GPU whole.

A pass of a ResNet-18 is some hundred kernels, one of an HRNet-W32 some thousand, and on a fast GPU it takes longer to
give them one by one than to run them. A pass is recorded whole, but for one in which features are mixed: of that, the
largest parts that take and give tensors alone. What runs twice in a step, on labelled and on unlabelled images, is
recorded twice, as what it keeps for its gradient lies in one place. Values are those of the passes without graphs. What
is made of a batch before, without a network, is a `Replay` of `feed.Feed`.
"""

from sshpe_lib.graphs.gradients import add_up
from sshpe_lib.graphs.network import Graphs, parts_of
from sshpe_lib.graphs.replay import Replay
from sshpe_lib.graphs.step import StepGraphs

__all__ = ["Graphs", "Replay", "StepGraphs", "add_up", "parts_of"]
