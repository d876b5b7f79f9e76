"""Turning pasted text into lines that a reader can read, with the original line numbers kept.

:mod:`page` cleans the whole text once (terminals, mail, web pages, hard wraps); what lies
around single lines (quotes, comments, prefixes of logs, indentation, lost line ends) is
taken off by :mod:`layers` only where a line cannot be read otherwise.
"""

from hangdiag.text.page import Page, make_page

__all__ = ["Page", "make_page"]
