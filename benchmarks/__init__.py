"""What a breaker costs, compared with code written by hand. `python -m benchmarks` prints it."""
