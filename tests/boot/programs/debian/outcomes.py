"""How each of Python's own tests ends, in the modules that are named: one line for each.

python3 outcomes.py test_math test_struct ...
"""

from __future__ import annotations

import importlib
import sys
import unittest
from types import TracebackType
from typing import Any

support: Any = importlib.import_module("test.support")
support.use_resources = []
support.verbose = False

Test = unittest.TestCase
Caught = tuple[type[BaseException], BaseException, TracebackType] | tuple[None, None, None]


def tell(test: Test, outcome: str, reason: object = "") -> None:
    print(test.id(), outcome, *str(reason).splitlines()[:1], flush=True)


class Outcomes(unittest.TestResult):
    """Tells the end of each test, and of what it tried in parts if that was no success."""

    def addSuccess(self, test: Test) -> None:
        tell(test, "ok")

    def addSkip(self, test: Test, reason: str) -> None:
        super().addSkip(test, reason)
        tell(test, "skipped:", reason)

    def addExpectedFailure(self, test: Test, err: Caught) -> None:
        tell(test, "failed, as expected")

    def addUnexpectedSuccess(self, test: Test) -> None:
        tell(test, "succeeded unexpectedly")

    def addFailure(self, test: Test, err: Caught) -> None:
        tell(test, "failed:", err[1])

    def addError(self, test: Test, err: Caught) -> None:
        tell(test, "was in error:", err[1])

    def addSubTest(self, test: Test, subtest: Test, err: Caught | None) -> None:
        if err is not None:
            tell(subtest, "failed:", err[1])


names = [f"test.{name}" for name in sys.argv[1:]]
result = Outcomes()
unittest.defaultTestLoader.loadTestsFromNames(names).run(result)
print("tests:", result.testsRun)
