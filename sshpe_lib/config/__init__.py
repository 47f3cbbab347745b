"""Experiments as values: every setting that decides a result, validated and hashed."""

from sshpe_lib.config.augment import (
    Affine,
    Augment,
    CutOcclude,
    Cutout,
    JointCutout,
    Mum,
    Operation,
    RandAugment,
    Weak,
)
from sshpe_lib.config.data import CocoSource, Data, Source, SyntheticSource
from sshpe_lib.config.experiment import (
    METHOD_VERSION,
    Evaluate,
    Experiment,
    Model,
    Teacher,
    Train,
    validate,
)
from sshpe_lib.config.frozen import Frozen

__all__ = [
    "METHOD_VERSION",
    "Affine",
    "Augment",
    "CocoSource",
    "CutOcclude",
    "Cutout",
    "Data",
    "Evaluate",
    "Experiment",
    "Frozen",
    "JointCutout",
    "Model",
    "Mum",
    "Operation",
    "RandAugment",
    "Source",
    "SyntheticSource",
    "Teacher",
    "Train",
    "Weak",
    "validate",
]
