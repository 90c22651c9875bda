"""Run a file of ADQL queries through the parser and say how many do what they should.

``python tests/tools/adql_corpus.py FILE [--markdown]``

FILE has one JSON object a line: ``id``, ``query``, ``verdict`` (valid, invalid, disputed or
template), ``adql_version``, ``origin``.  Only what needs no schema is checked: the grammar, the
reserved words, the functions with their arguments, the types of constants.  Queries that are valid
but use optional parts of ADQL 2.1 that are not offered yet (sets, WITH, CAST, IN_UNIT, REGION,
functions of users) count as outside.  Queries themselves are never printed.

"refused" and "outside" are both errors for the user.  The exit code is 1 if anything but an error
of the language was raised.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from astrolabe.adql import check_syntax
from astrolabe.adql.hints import LATER
from astrolabe.core.errors import AdqlUnsupportedError, QueryError, UnknownFunctionError

__all__ = ["Report", "main", "run"]

ACCEPTED, OUTSIDE, REFUSED, CRASHED = "accepted", "outside", "refused", "crashed"


@dataclass(slots=True)
class Report:
    """What came out.

    Parameters
    ----------
    counts
        Number of queries by (verdict, outcome).
    exceptions
        (id, verdict, reason) of the valid that were refused, the invalid that were accepted, and
        whatever crashed.
    features
        Number of valid queries outside, by the part of the language that they use.
    """

    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    exceptions: list[tuple[str, str, str]] = field(default_factory=list)
    features: Counter[str] = field(default_factory=Counter)

    @property
    def failed(self) -> bool:
        """Whether anything but an error of the language was raised."""
        return any(count for (_, outcome), count in self.counts.items() if outcome == CRASHED)


def run(lines: Iterable[str]) -> Report:
    """Check every query of some JSON lines."""
    report = Report()
    for line in lines:
        if not line.strip():
            continue
        entry = json.loads(line)
        outcome, reason = _outcome(entry["query"])
        verdict = entry["verdict"]
        report.counts[verdict, outcome] += 1
        if verdict == "valid" and outcome == OUTSIDE:
            report.features[reason] += 1
        wrong = (verdict, outcome) in (("valid", REFUSED), ("invalid", ACCEPTED))
        if wrong or outcome == CRASHED:
            report.exceptions.append((entry["id"], verdict, reason))
    return report


def _outcome(query: str) -> tuple[str, str]:
    try:
        check_syntax(query)
    except UnknownFunctionError:
        return OUTSIDE, "functions of users"
    except AdqlUnsupportedError as error:
        later = next((word for word, text in LATER.items() if str(error).startswith(text)), None)
        return (OUTSIDE, later) if later else (REFUSED, str(error))
    except QueryError as error:
        return REFUSED, str(error)
    except Exception as error:  # noqa: BLE001 - that nothing else is raised is what is tested
        return CRASHED, f"{type(error).__name__}: {error}"
    return ACCEPTED, "accepted"


def _lines(report: Report, *, markdown: bool) -> Iterator[str]:
    outcomes = [ACCEPTED, OUTSIDE, REFUSED, CRASHED]
    verdicts = sorted({verdict for verdict, _ in report.counts})
    edge, bar = ("| ", " | ") if markdown else ("", "  ")
    end = " |" if markdown else ""
    yield edge + bar.join(["verdict", *outcomes]) + end
    if markdown:
        yield "|---|" + "--:|" * len(outcomes)
    for verdict in verdicts:
        numbers = [str(report.counts[verdict, outcome]) for outcome in outcomes]
        yield edge + bar.join([verdict, *numbers]) + end
    yield ""
    yield "outside: " + ", ".join(f"{name} {n}" for name, n in report.features.most_common())
    yield ""
    yield edge + bar.join(["id", "verdict", "reason"]) + end
    if markdown:
        yield "|---|---|---|"
    for name, verdict, reason in report.exceptions:
        text = reason.replace("|", "\\|") if markdown else reason
        yield edge + bar.join([name, verdict, text]) + end


def main(arguments: list[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--markdown", action="store_true", help="print tables for the docs")
    options = parser.parse_args(arguments)
    with options.file.open(encoding="utf-8") as lines:
        report = run(lines)
    for line in _lines(report, markdown=options.markdown):
        print(line)  # noqa: T201 - a command line's output
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())
