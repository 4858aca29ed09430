"""A probe: whether a service answers PING with +PONG, as everything that speaks Redis does.

wit_world is made from wit/ when the component is built; wit/deps/host says what each function means.
"""

import json

from componentize_py_types import Err
from wit_world import exports
from wit_world.exports.plugin import Description, Grant, Problem
from wit_world.exports.probe import Outcome_Fail, Outcome_Pass, Outcome_Unknown
from wit_world.imports import connection, tcp

# Bytes of an answer that are read. More than any line worth showing.
ANSWER = 256

SCHEMA = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "additionalProperties": False,
    "required": ["host", "port"],
    "properties": {
        "host": {"type": "string", "description": "address or name to connect to"},
        "port": {"type": "integer", "minimum": 1, "maximum": 65535},
    },
}


class Plugin(exports.Plugin):
    def describe(self):
        grants = [Grant("connect", None, "host and port of the settings")]
        return Description("{{name}}", "0.1.0", json.dumps(SCHEMA), grants)

    def check_settings(self, settings):
        return problems(json.loads(settings))


class Probe(exports.Probe):
    def check(self, request):
        settings = json.loads(request.settings)
        found = problems(settings)
        if found:
            return Outcome_Unknown(found[0].message)
        host, port = settings["host"], settings["port"]
        try:
            with tcp.connect(host, port) as peer:
                return ask(peer)
        except Err as error:
            return refuse(f"{host}:{port}", error.value)


def problems(settings):
    """Every mistake in the settings."""
    found = []
    host, port = settings.get("host"), settings.get("port")
    if not isinstance(host, str) or not host:
        found.append(Problem("/host", 'host is missing; write host = "127.0.0.1"'))
    if type(port) is not int or not 1 <= port <= 65535:
        found.append(Problem("/port", "port must be a number from 1 to 65535"))
    for key in settings.keys() - {"host", "port"}:
        found.append(Problem(f"/{key}", f"there is no setting {key}"))
    return found


def ask(peer):
    """Asks over an open connection."""
    peer.write(b"PING\r\n")
    answer = b""
    # An answer may come in pieces.
    while len(answer) < ANSWER and b"\n" not in answer:
        piece = peer.read(ANSWER - len(answer))
        if not piece:
            break
        answer += piece
    if answer.startswith(b"+PONG"):
        return Outcome_Pass()
    return Outcome_Fail(f"PING was answered with {answer!r}, not +PONG")


def refuse(place, error):
    """What could not be done: fails, or is unknown if it is ours and not the service's."""
    match error:
        case connection.Error_Refused():
            return Outcome_Fail(f"cannot ask {place}: nobody listens there")
        case connection.Error_TimedOut():
            return Outcome_Fail(f"cannot ask {place}: it did not answer in time")
        case connection.Error_Closed():
            return Outcome_Fail(f"cannot ask {place}: it broke the connection off")
        case connection.Error_Unreachable() | connection.Error_Untrusted() | connection.Error_Other():
            return Outcome_Fail(f"cannot ask {place}: {error.value}")
        case _:
            return Outcome_Unknown(f"cannot ask {place}: {error.value}")
