"""Associative embedding, forward and backward, beside a loop over images, people and joints.

    python benchmarks/associative.py [--repeats 20] [--threads 1]

Eight images of five people with 17 joints, tags of 128x128. Both forms run in one process, turn by turn, once their
results and gradients are found equal. The copy is of the tags, as many as the gradient.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial

import torch
from timing import compare, heading

from sshpe_lib.losses import associative_embedding

BATCH, PEOPLE, JOINTS, PIXELS, PADDED = 8, 5, 17, 17 * 128 * 128, 30


def loop(tags: torch.Tensor, index: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Image by image, person by person, joint by joint."""
    pushes, pulls = [], []
    for image, people in zip(tags, index, strict=True):
        means, pull = [], tags.new_zeros(())
        for person in people:
            read = [image[place] for place in person if place >= 0]
            if read:
                read = torch.stack(read)
                means.append(read.mean())
                pull = pull + (read - means[-1]).square().mean()
        count, means = len(means), torch.stack(means)
        near = torch.exp(-((means[:, None] - means[None]) ** 2))
        pushes.append(0.5 * (near.sum() - count) / (count * (count - 1)))
        pulls.append(pull / count)
    return torch.stack(pushes), torch.stack(pulls)


def both_ways(loss: Callable, tags: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """The gradient of push plus pull."""
    tags.grad = None
    push, pull = loss(tags, index)
    (push + pull).sum().backward()
    return tags.grad


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    generator = torch.Generator().manual_seed(0)
    tags = torch.randn(BATCH, PIXELS, generator=generator).requires_grad_()
    index = torch.randint(PIXELS, (BATCH, PADDED, JOINTS), generator=generator)
    index[:, PEOPLE:] = -1
    torch.testing.assert_close(
        both_ways(associative_embedding, tags, index).clone(), both_ways(loop, tags, index)
    )
    heading(f"{BATCH} images of {PEOPLE} people, {options.threads} thread(s)", options.repeats)
    slow, ours = (partial(both_ways, loss, tags, index) for loss in (loop, associative_embedding))
    compare("push and pull, forwards and backwards", slow, ours, tags.detach().clone, options.repeats)


if __name__ == "__main__":
    main()
