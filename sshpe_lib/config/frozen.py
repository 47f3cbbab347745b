"""The base of every value here."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Frozen(BaseModel):
    """A value: no field changes after validation, none is unknown."""

    model_config = ConfigDict(frozen=True, extra="forbid")
