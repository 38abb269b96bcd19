"""Mutation testing: the package, broken in one small place at a time, must make the tests fail.

    config      what is mutated and how, which tests come first, and what no mutant is
    operators   the mutations that cosmic-ray lacks
    mutations   every mutant of a module, by the operators of cosmic-ray and those
    warm        runs the tests in forks of a process that has imported pytest
    worker      one copy of the checkout, whose mutants it tries one after the other
    equivalent  the mutants that no test can tell from the original, each with the reason
    report      the score, and the survivors

cosmic-ray gives the mutations; its runner starts an interpreter and all tests for each, which takes ten times as long.
"""
