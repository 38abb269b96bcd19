"""What is checked beyond the tests: each subpackage is a command, `python -m checks.explore` and so on."""
