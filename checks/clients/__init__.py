"""The clients' own tests, run through our guards."""
