// Tests of probe.js that run in node, without hilum: `npm test`. The host's modules are played here.
import assert from "node:assert/strict";
import { register } from "node:module";
import { test } from "node:test";

// node knows no "hilum:" modules; this one asks what the test below says.
register(
  "data:text/javascript," +
    encodeURIComponent(`
      export const resolve = (name, context, next) =>
        name.startsWith("hilum:") ? { url: "data:text/javascript,export const connect = (...to) => globalThis.service(...to)", shortCircuit: true } : next(name, context);
    `),
);
const { plugin, probe } = await import("./probe.js");

const settings = JSON.stringify({ host: "127.0.0.1", port: 6379 });

/** A service that sends `pieces` one by one; a piece that is an object is thrown, as the host throws. */
function service(...pieces) {
  const written = [];
  globalThis.service = (host, port) => {
    assert.deepEqual([host, port], ["127.0.0.1", 6379]);
    const next = () => {
      const piece = pieces.shift();
      if (typeof piece === "object") throw Object.assign(new Error(), { payload: piece });
      return Uint8Array.from(piece ?? "", (letter) => letter.charCodeAt(0));
    };
    if (pieces[0]?.tag === "denied" || pieces[0]?.tag === "refused") next();
    return { write: (bytes) => written.push(String.fromCharCode(...bytes)), read: next };
  };
  return written;
}

test("a service that answers passes, in pieces too", () => {
  const written = service("+PONG\r\n");
  assert.deepEqual(probe.check({ settings }), { tag: "pass" });
  assert.deepEqual(written, ["PING\r\n"]);
  service("+PO", "NG\r\n");
  assert.deepEqual(probe.check({ settings }), { tag: "pass" });
});

test("another answer, none, and nobody fail", () => {
  for (const [pieces, said] of [
    [["-NOAUTH\x1b\r\n"], 'answered with "-NOAUTH\\u001b\\r\\n", not +PONG'],
    [[""], 'answered with ""'],
    [[{ tag: "timed-out" }], "cannot ask 127.0.0.1:6379: it did not answer in time"],
    [[{ tag: "refused" }], "nobody listens there"],
  ]) {
    service(...pieces);
    const { tag, val } = probe.check({ settings });
    assert.equal(tag, "fail");
    assert.ok(val.includes(said), val);
  }
});

test("a missing grant and settings that cannot be are unknown", () => {
  service({ tag: "denied", val: "it is not granted" });
  assert.deepEqual(probe.check({ settings }), { tag: "unknown", val: "cannot ask 127.0.0.1:6379: it is not granted" });
  assert.equal(probe.check({ settings: '{"host": "x", "port": 0}' }).tag, "unknown");
  const found = plugin.checkSettings('{"port": "6379", "hots": "x"}');
  assert.deepEqual(found.map(({ path }) => path), ["/host", "/port", "/hots"]);
});
