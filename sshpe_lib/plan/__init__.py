"""The dry run: what each row of a table will do on a profile, what it costs, and whether its data is there."""

from sshpe_lib.plan.lines import Line, Plan, make
from sshpe_lib.plan.text import to_text

__all__ = ["Line", "Plan", "make", "to_text"]
