"""Highwater: exact windowed aggregates of a stream. Start reading at app.py and docs/architecture.md."""
