"""Tests of probe.py that run on this machine, without hilum: python3 -m unittest"""

import json
import unittest

import fake_hilum
from fake_hilum import connection
from probe import Plugin, Probe
from wit_world.exports.probe import Outcome_Fail, Outcome_Pass, Outcome_Unknown, Request


def check(steps, **settings):
    settings = {"host": "127.0.0.1", "port": 6379, **settings}
    fake_hilum.peers.clear()
    if steps is not None:
        fake_hilum.peers["127.0.0.1", 6379] = steps
    return Probe().check(Request(json.dumps(settings), 1000, 1))


class ProbeTest(unittest.TestCase):
    def test_a_service_that_answers_passes_in_pieces_too(self):
        for steps in [[b"+PONG\r\n"], [b"+PO", b"NG\r\n"]]:
            self.assertEqual(check(steps), Outcome_Pass())
        self.assertEqual(fake_hilum.written[-1], b"PING\r\n")

    def test_another_answer_none_and_nobody_fail(self):
        for steps, said in [
            ([b"-NOAUTH\x1b\r\n"], r"answered with b'-NOAUTH\x1b\r\n', not +PONG"),
            ([b"+" * 1000], "not +PONG"),
            ([], "answered with b''"),
            ([connection.Error_TimedOut()], "cannot ask 127.0.0.1:6379: it did not answer in time"),
            (connection.Error_Refused(), "nobody listens there"),
            (connection.Error_Unreachable("no route"), "no route"),
        ]:
            outcome = check(steps)
            self.assertIsInstance(outcome, Outcome_Fail)
            self.assertIn(said, outcome.value)

    def test_a_missing_grant_and_settings_that_cannot_be_are_unknown(self):
        for outcome in [check(None), check([], port=0), check([], port=True), check([], hots="x")]:
            self.assertIsInstance(outcome, Outcome_Unknown)

    def test_every_mistake_in_settings_is_told(self):
        found = Plugin().check_settings('{"port": "6379", "hots": "x"}')
        self.assertEqual([problem.path for problem in found], ["/host", "/port", "/hots"])
        self.assertEqual(Plugin().check_settings('{"host": "db", "port": 1}'), [])


if __name__ == "__main__":
    unittest.main()
