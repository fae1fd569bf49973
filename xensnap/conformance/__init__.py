"""One body of cases for every host: what a snapshot of a domain must be, tried on whatever is given.

`places` makes hosts ready to be tried; others bring their own (`workplace.Workplace`). `cases` holds the cases, one
module a profile, and `trial` is what a case works with: guests, operations that leave a trace, comparisons that name
who wrote what. `run` carries cases out and yields events, nothing skipped in silence; `reports` makes of the events
what people and machines read.
"""

from xensnap.conformance.case import Case, Profile, case, every_case
from xensnap.conformance.requirements import REQUIREMENTS, Level
from xensnap.conformance.run import Options, run_cases
from xensnap.conformance.trial import Trial
from xensnap.conformance.workplace import Content, Workplace

__all__ = [
    "REQUIREMENTS",
    "Case",
    "Content",
    "Level",
    "Options",
    "Profile",
    "Trial",
    "Workplace",
    "case",
    "every_case",
    "run_cases",
]
