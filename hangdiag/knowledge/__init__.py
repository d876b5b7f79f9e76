"""The code around rules/: loading, checking and matching what is known about FreeBSD."""

from hangdiag.knowledge.load import load_knowledge
from hangdiag.knowledge.match import Match, Matcher
from hangdiag.knowledge.model import BugRule, Knowledge, WaitRule

__all__ = ["BugRule", "Knowledge", "Match", "Matcher", "WaitRule", "load_knowledge"]
