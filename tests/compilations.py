"""Counts what jax compiles, by the events that it reports; what the persistent cache answers counts too."""

import contextlib

import jax.monitoring

COMPILED = "/jax/core/compile/backend_compile_duration"


@contextlib.contextmanager
def compilations():
    """The names of the functions that are compiled in a ``with`` block."""
    found = []

    def listen(event, duration, **details):
        if event == COMPILED:
            found.append(details.get("fun_name"))

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        yield found
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
