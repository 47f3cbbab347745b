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
    WeakScene,
)
from sshpe_lib.config.data import SOURCES, AIChallengerSource, CocoSource, Data, Source, SyntheticSource
from sshpe_lib.config.experiment import (
    METHOD_VERSION,
    Evaluate,
    Experiment,
    Teacher,
    Train,
    check_scales,
    validate,
)
from sshpe_lib.config.frozen import Frozen
from sshpe_lib.config.model import RSN, HigherHRNet, HRNet, Model, SimpleBaseline
from sshpe_lib.config.pretraining import Pretraining

__all__ = [
    "METHOD_VERSION",
    "RSN",
    "SOURCES",
    "AIChallengerSource",
    "Affine",
    "Augment",
    "CocoSource",
    "CutOcclude",
    "Cutout",
    "Data",
    "Evaluate",
    "Experiment",
    "Frozen",
    "HRNet",
    "HigherHRNet",
    "JointCutout",
    "Model",
    "Mum",
    "Operation",
    "Pretraining",
    "RandAugment",
    "SimpleBaseline",
    "Source",
    "SyntheticSource",
    "Teacher",
    "Train",
    "Weak",
    "WeakScene",
    "check_scales",
    "validate",
]
