// JSON Pointers (RFC 6901).

/** What is at `pointer` in `value`; undefined if nothing is. */
export function at(value, pointer) {
  for (const step of pointer.split("/").slice(1)) {
    const key = step.replaceAll("~1", "/").replaceAll("~0", "~");
    if (typeof value !== "object" || value === null || !Object.hasOwn(value, key)) return undefined;
    value = value[key];
  }
  return value;
}
