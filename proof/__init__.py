"""What is checked beyond the tests: each subpackage is a command, `python -m proof.explore` and so on."""
