"""How each kind of callable runs under a circuit."""
