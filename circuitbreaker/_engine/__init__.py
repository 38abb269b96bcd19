"""The transition engine. Pure: no clock, lock, thread, log or random number; time is an argument."""
