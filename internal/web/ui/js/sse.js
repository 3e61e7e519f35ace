/** @typedef {import("./types").StreamEvent} StreamEvent */

/** The server sends a comment every 15 s; this long without a byte is a dead line. */
const SILENCE = 45_000;

/** A comment that begins so says what a reply waits for. */
const WAITS = ": hwlab ";

/**
 * Reads a stream of server-sent events as JSON, and what a reply waits for as
 * an event without a number. Ends when the stream ends and throws when the
 * line breaks or falls silent.
 * @param {Response} response
 * @returns {AsyncGenerator<StreamEvent, void, void>}
 */
export async function* readEvents(response) {
  if (!response.body) return;
  const reader = response.body.getReader();
  const decoder = new TextDecoder();
  let rest = "";
  let data = /** @type {string[]} */ ([]);
  try {
    for (;;) {
      const { done, value } = await withTimeout(reader.read(), SILENCE);
      if (done) return;
      rest += decoder.decode(value, { stream: true });
      // A CR at the end may be the first half of a CRLF: it waits.
      const lines = rest.split(/\r\n|\n|\r(?!$)/);
      rest = lines.pop() ?? "";
      for (const line of lines) {
        if (line === "") {
          const text = data.join("\n");
          data = [];
          if (text !== "" && text !== "[DONE]") yield JSON.parse(text);
        } else if (line.startsWith("data:")) {
          data.push(line.slice(line[5] === " " ? 6 : 5));
        } else if (line.startsWith(WAITS)) {
          yield { type: "hwlab.wait", ...JSON.parse(line.slice(WAITS.length)) };
        }
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

/**
 * @template T
 * @param {Promise<T>} promise
 * @param {number} ms
 * @returns {Promise<T>}
 */
function withTimeout(promise, ms) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error("the stream fell silent")), ms);
    promise.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}
