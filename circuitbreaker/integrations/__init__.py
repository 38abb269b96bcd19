"""Circuits for other libraries: one module per library, named after it and imported only by those who use it."""
