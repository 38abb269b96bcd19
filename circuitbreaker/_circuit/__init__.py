"""The lock, the clock and the news around one engine."""
