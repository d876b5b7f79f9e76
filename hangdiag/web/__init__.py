"""The page on which a trace is pasted and its report read; nothing leaves the machine (docs/report.md)."""
