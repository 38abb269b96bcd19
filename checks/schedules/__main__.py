"""`python -m checks.schedules`: tries every schedule of each scenario, and shows that planted races are found.

Ends with 1 if a promise is broken or a planted race is not found.
"""

from __future__ import annotations

import argparse
import platform
import sys

from . import planted, report
from .checking import Checker, Report
from .planted import PLANTED, Planted
from .points import SwitchPoints
from .scenarios import SCENARIOS, Scenario


def main(arguments: list[str] | None = None) -> int:
    """Explore, then plant."""
    parser = argparse.ArgumentParser(prog="python -m checks.schedules", description=__doc__)
    parser.add_argument("only", nargs="*", help="words of a scenario's name; all scenarios and planted races if none")
    parser.add_argument("--preemptions", type=_count, help="at most so many; default: as each scenario says")
    parser.add_argument("--every-bytecode", action="store_true", help="stop before instructions too that share nothing")
    parser.add_argument("--walks", type=_count, default=0, help="so many random schedules of each scenario besides")
    parser.add_argument("--seed", type=int, default=1, help="of the random schedules; default: 1")
    given = parser.parse_args(arguments)
    chosen = [each for name, each in SCENARIOS.items() if all(word in name for word in given.only)]
    if not chosen:
        parser.error(f"no scenario's name has {' and '.join(map(repr, given.only))} in it")
    print(f"circuitbreaker on {platform.python_implementation()} {platform.python_version()}, {platform.platform()}")
    broken = explore(chosen, given)
    missed = 0 if given.only else sum(not find(each) for each in PLANTED.values())
    return 1 if broken or missed else 0


def _count(text: str) -> int:
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError(f"must be 0 or more, got {number}")
    return number


def explore(scenarios: list[Scenario], given: argparse.Namespace) -> int:
    """Print what came of each of `scenarios`, and return how many promises are broken."""
    broken, schedules, seconds = 0, 0, 0.0
    print(report.header())
    with Checker(SwitchPoints(every=given.every_bytecode)).open() as checker:
        for scenario in scenarios:
            preemptions = scenario.long if given.preemptions is None else given.preemptions
            tried = [checker.explore(scenario, preemptions)]
            if given.walks:
                tried.append(checker.walk(scenario, given.walks, given.seed))
            for each in tried:
                print(report.line(each), flush=True)
                if each.counterexample:
                    print(report.story(each.counterexample))
                broken += each.counterexample is not None
                schedules += each.schedules
                seconds += each.seconds
    print(f"{len(scenarios)} scenarios, {schedules:,} schedules, {seconds:.0f} s, {broken} broken promises")
    return broken


def find(race: Planted) -> bool:
    """Print how the planted race is found, if it is."""
    print(f"\nPlanted: {race.name}. {race.why}")
    tried = search(race)
    if tried.counterexample is None:
        print(f"  NOT FOUND in {tried.schedules} schedules of {race.scenario!r}")
        return False
    print(f"  Found in schedule {tried.schedules} of {race.scenario!r}, after {tried.seconds:.2f} s:")
    print(report.story(tried.counterexample), flush=True)
    return True


def search(race: Planted) -> Report:
    """Look for `race`, which is in place once it is known what there should be."""
    scenario = SCENARIOS[race.scenario]
    with Checker(SwitchPoints(planted)).open() as checker:
        checker.reference(scenario)
        with race.in_place():
            return checker.explore(scenario, race.preemptions)


if __name__ == "__main__":
    sys.exit(main())
