"""One circuit per host, so that a host that is down does not affect calls to the others.

    python examples/per_host.py

`key` receives the arguments of each call and returns the key of the breaker that guards it. Breakers are made on first
use. Beyond `maxsize`, the least recently used breaker is dropped, but never one that is open, half-open or held.
"""

from urllib.parse import urlsplit

from circuitbreaker import CircuitOpenError, circuit, get_breaker

down = {"images.example"}


def host_of(url: str) -> str:
    return urlsplit(url).netloc


@circuit(name="fetch", key=host_of, maxsize=100, failure_threshold=2)
def fetch(url: str) -> str:
    if host_of(url) in down:  # A real program would use an HTTP client here.
        raise ConnectionError(f"no route to {host_of(url)}")
    return "200 OK"


def main() -> None:
    for url in [
        "https://images.example/cat.png",
        "https://images.example/dog.png",
        "https://images.example/cow.png",
        "https://prices.example/today",
    ]:
        try:
            print(f"{url:<32} {fetch(url)}")
        except ConnectionError as error:
            print(f"{url:<32} {error}")
        except CircuitOpenError as error:
            print(f"{url:<32} not sent: {error.reason}; next trial in {error.retry_after:.0f} s")

    print(f"\n{fetch.breakers}")
    for host, breaker in fetch.breakers.items():
        print(f"  {host:<16} {breaker.state}")

    fetch.breakers["images.example"].reset()  # An operator knows that the host has recovered.
    print(f"\n{get_breaker('fetch[images.example]')}")  # The same breaker, by name.


if __name__ == "__main__":
    main()
