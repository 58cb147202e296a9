"""Tests an installation from the outside in; says what to change (``mmr-check``)."""

from mmr.doctor.examination import Examination, Options
from mmr.doctor.finding import Finding, Level

__all__ = ["Examination", "Finding", "Level", "Options"]
