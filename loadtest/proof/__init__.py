"""The proof of a load test: all that a stage answers of a run, held against what it has to."""

from loadtest.proof.api import Api, ApiError
from loadtest.proof.prove import prove
from loadtest.proof.verdict import Difference, Outcome, Verdict

__all__ = ["Api", "ApiError", "Difference", "Outcome", "Verdict", "prove"]
