"""Sentences that tell of stacks nobody saw: ``no thread is in``, ``vcpu 1 is not in``, ``what if one thread is in``."""

from __future__ import annotations

import re

from hangdiag.text.lazy import lazy

_THREADS = r"(?:threads?|v-?cpus?|process(?:es)?|stacks?|hilos?|fils?)\b"
_PLACE = r"(?:in|at|inside|within|under|to be in|here)"
_DENIED = lazy(
    # no thread, not a single vCPU, none of the threads; kein Thread, aucun fil, ningún hilo, nessun thread
    r"(?:\b(?:no|not (?:a|one|any)|none of (?:the|my|its)|neither of the|without (?:a|any)|kein\w{0,2}|aucun|ning[uú]n|nessun)"
    rf"|n['’]t (?:see|have|find|got) (?:a|any|one)) (?:[\w/-]{{1,16}} ){{0,4}}{_THREADS}"
    rf"|\b(?:nothing|nobody|none)\b(?: [\w'’-]{{1,16}}){{0,5}} {_PLACE}\b"
    # vcpu 1 is not (any longer) in
    rf"|\b(?:not|never|no longer|\w{{2,6}}n['’]t|nicht|nicht mehr)(?: (?:\w{{1,12}}ly|stuck|any ?more|any longer|even|sitting"
    rf"|sleeping|blocked|waiting|seen|been|be|the one))? {_PLACE}\s{{0,4}}:?\s{{0,4}}\Z",
    re.I,
)
_SUPPOSED = lazy(
    r"\b(?:what if|(?:could|would|might) (?:it|there|this) be|is it possible|suppos\w{1,4}|imagine"
    r"|(?<!as )if (?:thread|v-?cpu)s?\b"
    r"|(?<!as )if (?:one|a|an|some|another|the other|any|there (?:is|was|were)|you (?:have|see))\b"
    rf"(?: [\w'’/-]{{1,16}}){{0,5}} {_THREADS})",
    re.I,
)


def is_denied(words: str) -> bool:
    """Does the end of a sentence say that the stack behind it is nowhere?"""
    return _DENIED.search(words) is not None


def is_supposed(words: str) -> bool:
    """Does a sentence only ask, or suppose, that threads are somewhere?"""
    return _SUPPOSED.search(words) is not None
