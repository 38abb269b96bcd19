"""What a breaker costs, beside what a person would write by hand. `python -m benchmarks` prints it."""
