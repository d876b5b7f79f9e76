"""Whose lines are read: of which host, at which time.

Sources, headings, prompts, dates and boots tell; what is said of one host at one time is one :class:`Instant`.
"""

from __future__ import annotations

from collections.abc import Sequence

from hangdiag.model import Host, Thread
from hangdiag.readers import instants, origins
from hangdiag.readers.merging import Instant
from hangdiag.text.names import host_label, words_of


class Timeline:
    """All instants of a reading, and the one that is being read."""

    def __init__(self) -> None:
        self.now = Instant()  #: the instant that is being read
        self.instants: list[Instant] = [self.now]
        self.host: str | None = None  #: the one of several hosts in a source whose lines are being read
        self._hosts: dict[str, Instant] = {}
        self._origins: dict[str, Instant] = {}
        self._names: dict[str, str] = {}
        self._origin: str | None = None
        self._place: str | None = None  # of the source
        self._own_words: tuple[str, ...] = ()  # those of its name
        self._words: tuple[str, ...] | None = ()  # and of the heading that was read last; None where there is no name
        self._by_name: dict[object, Instant] = {}
        self._left: list[Instant] = []
        self._tag: str | None = None  # the host that the last lines' own prefixes told

    def pass_time(self) -> None:
        """The machine ran on: a thread that is described anew is in a new instant."""
        self.now.before.update(self.now.threads)

    def begin_time(self) -> None:
        """The machine was booted, or left the debugger: what follows is of another time."""
        self.begin_instant(self.now.label)

    def see_time(self) -> None:
        """The time of day was printed: a tool's table behind it is not the one before it."""
        self.now.stale.update(self.now.tables, self.now.said)

    def begin_source(self, path: str, container: str | None) -> None:
        """A source is read next: it is of the instant of its folder's others, or of those whose names are like its own."""
        self._end_source()
        found = origins.origin(path, container)
        self._own_words = () if found is None else words_of(f"{container or ''} {path}")
        self._words = self._own_words if found is not None or path == "-" else None
        self._place = None if found is None else found[0]
        self._tag = None
        if found is None:
            return
        place, name = found
        known = self._origins.get(place)
        other = self._names.get(name, place)
        if known is None and other != place:
            near = origins.around(place, self._origins, other)
            known = self._origins[near] if near is not None else None
        if self._name in self._by_name:
            self.now = self._by_name[self._name]
        elif known is not None:
            self.now = known
        elif other != place:
            self.begin_instant(None)
        self._names.setdefault(name, place)
        self._origin = place
        self._origins[place] = self.now

    def _end_source(self) -> None:
        if self._origin is not None:
            self._origins[self._origin] = self.now
        self._end_part()

    def _end_part(self) -> None:
        if self._name in self._by_name:
            self._by_name[self._name] = self.now

    def begin_part(self, name: str) -> None:
        """What follows stands under the heading ``name``, which may name a host: of the instant that is known by it."""
        self._end_part()
        self._words = (*self._own_words, *words_of(name))
        self.now = self._by_name.get(self._name, self.now)

    @property
    def _name(self) -> object:
        return self._place, self._words

    def begin_list(self, kind: str) -> None:
        """A tool of this ``kind`` lists threads: what it listed under another name is of another host or time."""
        if self._words is None:
            return
        listed = self.now.listed.setdefault(kind, self._words)
        if listed != self._words:
            self.begin_instant(None)
            self.now.listed[kind] = self._words
        if self._words:
            self._by_name[self._name] = self.now

    def see_host(self, name: str, is_heading: bool = False, is_sure: bool = True) -> None:
        """What follows is of the host ``name``: of its instant, if another one was read before. So is what stands before the
        first name, but not before a heading. What is not ``sure`` to be a host's name tells hosts apart, and no more.
        """
        label = host_label(name)
        now = self.now
        if label is not None and self.host is not None and label != self.host.partition(".")[0]:
            label = f"{self.host} {label}"  # as it is called there: no name makes one host of two
        if label is None:
            return
        if not is_sure:
            if label == self._tag:
                return  # something else may have told the host since
            self._tag = label
        if label == now.label:
            return
        known = self._hosts.get(label)
        if now.is_empty() or (now.label is None and not is_heading):
            now.label = label
            self._hosts[label] = now
        elif known is not None:
            self.now = known
        else:
            self.begin_instant(label)
        if is_sure and self.now.called is None:
            self.now.called = name

    def visit(self, name: str) -> None:
        """Somebody went to the host ``name``."""
        self._left.append(self.now)
        self.see_host(name, is_heading=True)

    def come_back(self) -> None:
        """They came back from there."""
        if self._left:
            self.now = self._left.pop()

    def enter_host(self, host: str) -> None:
        """What follows are lines of ``host``, one of several in a source: they are of no other's instant."""
        known = self._hosts.get(host)
        if known is None:
            known = self._hosts[host] = self._new_instant(None)
        self.now = known

    def begin_instant(self, label: str | None) -> None:
        """Begin another instant, of the host ``label``."""
        if self.now.is_empty():
            return
        self.now = self._new_instant(label)
        if label is not None:
            self._hosts[label] = self.now

    def _new_instant(self, label: str | None) -> Instant:
        made = Instant(label=label)
        if self.host is not None:
            name = (label or self.host).rpartition(" ")[2]
            made.host = Host(hostname=name if host_label(name) is not None else None)
        self.instants.append(made)
        return made

    def announce(self, threads: Sequence[Thread], table: str | None = None) -> None:
        """These threads are listed next, by the tool ``table`` if it prints each once: all of one instant, the one that
        is being read or a new one.
        """
        if self.now.threads and instants.is_another_table(self.now, threads, table):
            self.begin_instant(self.now.label)
