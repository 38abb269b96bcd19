"""A gRPC channel whose calls are guarded: one circuit for each method of a server that is here, on loopback.

    python examples/grpc_client.py

The server answers, then it has no room and says for how long, then it answers again. Of what is refused nothing is
sent. It needs grpcio, and no generated code.
"""

from concurrent.futures import ThreadPoolExecutor

import grpc

from circuitbreaker import ManualClock
from circuitbreaker.integrations.grpc import CircuitBreakerInterceptor

crowded = False
clock = ManualClock()  # So that nobody waits here. Leave it out.


def charge(request: bytes, context: grpc.ServicerContext) -> bytes:
    if crowded:
        context.set_trailing_metadata((("grpc-retry-pushback-ms", "2500"),))
        context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "no room")
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
    except grpc.RpcError as error:  # a refusal is one, too
        return f"{type(error).__name__.lstrip('_')}: {error.code().name}"


def main() -> None:
    global crowded  # noqa: PLW0603
    server, target = serve()
    guard = CircuitBreakerInterceptor(target, key=lambda call: call.method, failure_threshold=2, clock=clock)
    with grpc.intercept_channel(grpc.insecure_channel(target), guard) as channel:
        charge = channel.unary_unary("/payments.Payments/Charge")
        history = channel.unary_stream("/payments.Payments/History")

        print(attempt(charge, b"7 EUR"))
        crowded = True
        for _ in range(3):
            print(attempt(charge, b"8 EUR"))
        print(b", ".join(history(b"")).decode())  # another method, another circuit

        for method, breaker in guard.breakers.items():
            wait = breaker.metrics().next_attempt_time
            print(f"{method:<27} {breaker.state}{', for 2.5 s as the server has asked' if wait else ''}")

        crowded = False
        clock.advance(2.5)
        print(attempt(charge, b"9 EUR"))
        print(guard.breakers["/payments.Payments/Charge"].state)
    server.stop(None).wait()


if __name__ == "__main__":
    main()
