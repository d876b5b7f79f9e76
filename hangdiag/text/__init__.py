"""Turning pasted text into lines that a reader can read, with the original line numbers kept."""

from hangdiag.text.page import Page, make_page

__all__ = ["Page", "make_page"]
