"""One circuit for many processes. `RedisStore` is in `circuitbreaker.stores.redis`, which needs redis-py.

    from circuitbreaker.stores.redis import RedisStore

    breaker = CircuitBreaker("payments", store=RedisStore("redis://localhost"))

`Backend` is what it takes to bring another engine; `record` has the rule that each of them follows.
"""

from ..fleet.messages import UNKNOWN, Counts, Decision, Report, Terms, View
from .store import Backend, Store

__all__ = ["UNKNOWN", "Backend", "Counts", "Decision", "Report", "Store", "Terms", "View"]
