"""One circuit for many processes. `RedisStore` is in `circuitbreaker.stores.redis`, which needs redis-py.

    from circuitbreaker.stores.redis import RedisStore

    breaker = CircuitBreaker("payments", store=RedisStore("redis://localhost"))

To keep records in another engine, implement `Backend` by the rule in `circuitbreaker.fleet.record`.
"""

from ..fleet.messages import UNKNOWN, Batch, Counts, Decision, Quotas, Report, Snapshot, Tally
from .backend import Backend
from .store import Store

__all__ = ["UNKNOWN", "Backend", "Batch", "Counts", "Decision", "Quotas", "Report", "Snapshot", "Store", "Tally"]
