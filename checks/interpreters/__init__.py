"""Interpreters beyond those of CI: see docs/interpreters.md."""
