"""Compare everything that belongs together: records, journal, images, memory, domains. Tell what does not fit, mend it.

    survey ──> findings ──> plan ──> the same journal and executor as every other operation
      │            │          │
    looks      one idea     repairs that lose nothing; whatever could is only told, with what to do
    only       a module

A finding is never a guess: where two explanations would need opposite repairs, none is offered.
"""

from xensnap.engine.doctor.diagnosis import diagnose
from xensnap.engine.doctor.finding import Finding, Repair, Severity
from xensnap.engine.doctor.repair import plan_repair
from xensnap.engine.doctor.survey import Survey, survey

__all__ = ["Finding", "Repair", "Severity", "Survey", "diagnose", "plan_repair", "survey"]
