"""A Flask service whose bank fails: its clients learn when to try again, and a probe sees the circuit.

    python examples/flask_server.py

It needs Flask.
"""

from __future__ import annotations

import logging

try:
    from flask import Flask
    from werkzeug.serving import make_server
except ImportError:
    raise SystemExit("This example needs Flask: pip install 'circuitbreaker-kit[flask]'") from None

from _story import bank, run_story, serving

from circuitbreaker import circuit
from circuitbreaker.integrations.flask import CircuitOpen, health


@circuit(name="payments", failure_threshold=3, reset_timeout=2)
def charge() -> str:
    return bank.charge()


app = Flask(__name__)
CircuitOpen(app)
app.add_url_rule("/health/circuits", view_func=health(critical=["payments"], token="s3cret"))


@app.get("/pay")
def pay() -> str:  # Refusals are left to `CircuitOpen`.
    return charge()


@app.errorhandler(ConnectionError)
def bad_gateway(error: ConnectionError) -> tuple[str, int]:
    return str(error), 502


def main() -> None:
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # It would log each request.
    with serving(make_server("127.0.0.1", 0, app, threaded=True)) as port:
        run_story(port)


if __name__ == "__main__":
    main()
