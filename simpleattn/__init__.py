"""Does an attention layer help? Paired runs of vision networks with and without it, and verdicts that stand up to a statistician

Modules:

- `simpleattn.engines`: How runs are executed: one after another here, or in worker processes. Plain Python, tested by tests/test_engines.py."""

__version__ = "0.1.0"
