"""One circuit per method of a gRPC service: one method is overloaded, the other keeps working.

    python examples/grpc_client.py

It needs grpcio, but no generated code. The server runs on loopback. It answers, then it is overloaded and says for how
long to wait, then it answers again. A refused call is not sent.
"""

from concurrent.futures import ThreadPoolExecutor

try:
    import grpc
except ImportError:
    raise SystemExit("This example needs grpcio: pip install 'circuitbreaker-kit[grpc]'") from None

from circuitbreaker import ManualClock
from circuitbreaker.integrations.grpc import CircuitBreakerInterceptor

overloaded = False
clock = ManualClock()  # So that the example need not wait. Leave it out in real code.


def charge(request: bytes, context: grpc.ServicerContext) -> bytes:
    if overloaded:
        context.set_trailing_metadata((("grpc-retry-pushback-ms", "45000"),))
        context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "overloaded")
    return b"charged " + request


def history(request: bytes, context: grpc.ServicerContext):
    yield from (b"1 EUR", b"2 EUR", b"3 EUR")


def serve() -> tuple[grpc.Server, str]:
    methods = {
        "Charge": grpc.unary_unary_rpc_method_handler(charge),
        "History": grpc.unary_stream_rpc_method_handler(history),
    }
    server = grpc.server(ThreadPoolExecutor(4))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("payments.Payments", methods),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    return server, f"127.0.0.1:{port}"


def attempt(call, *arguments) -> str:
    try:
        return call(*arguments).decode()
    except grpc.RpcError as error:  # Refusals are `RpcError`s too.
        return f"{type(error).__name__.lstrip('_')}: {error.code().name}"


def main() -> None:
    global overloaded  # noqa: PLW0603
    server, target = serve()
    guard = CircuitBreakerInterceptor(target, key=lambda call: call.method, failure_threshold=2, clock=clock)
    with grpc.intercept_channel(grpc.insecure_channel(target), guard) as channel:
        charge = channel.unary_unary("/payments.Payments/Charge")
        history = channel.unary_stream("/payments.Payments/History")

        print(attempt(charge, b"7 EUR"))
        overloaded = True
        for _ in range(3):
            print(attempt(charge, b"8 EUR"))
        print(b", ".join(history(b"")).decode())  # another method, another circuit

        for method, breaker in guard.breakers.items():
            wait = breaker.metrics().next_attempt_time
            print(f"{method:<27} {breaker.state}{', for 45 s, as the server asked' if wait else ''}")

        overloaded = False
        clock.advance(45)
        print(attempt(charge, b"9 EUR"))
        print(guard.breakers["/payments.Payments/Charge"].state)
    server.stop(None).wait()


if __name__ == "__main__":
    main()
