/** The server's API. Every call throws a Problem when it fails. */
import { readEvents } from "./sse.js";

/**
 * @typedef {import("./types").Conversation} Conversation
 * @typedef {import("./types").Item} Item
 * @typedef {import("./types").Lab} Lab
 * @typedef {import("./types").Model} Model
 * @typedef {import("./types").Response} Reply
 * @typedef {import("./types").StreamEvent} StreamEvent
 */
/**
 * @template T
 * @typedef {import("./types").ListPage<T>} ListPage
 */

const TIMEOUT = 15_000;

/** A call that failed. Status 0 means that no answer came. */
export class Problem extends Error {
  /**
   * @param {number} status
   * @param {string} message
   * @param {string} [code]
   */
  constructor(status, message, code = "") {
    super(message);
    this.status = status;
    this.code = code;
  }
}

/** What to do when the server wants a sign-in; app.js sets it. */
export const session = { expired: () => {} };

/**
 * @param {string} method
 * @param {string} path
 * @param {{body?: unknown, signal?: AbortSignal, key?: string, stream?: boolean}} [options]
 * @returns {Promise<Response>}
 */
async function call(method, path, { body, signal, key, stream } = {}) {
  /** @type {Record<string, string>} */
  const headers = { Accept: stream ? "text/event-stream" : "application/json" };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (key) headers["Idempotency-Key"] = key;
  const controller = new AbortController();
  const abort = () => controller.abort();
  if (signal?.aborted) abort();
  signal?.addEventListener("abort", abort);
  const timer = stream ? 0 : setTimeout(abort, TIMEOUT);
  let response;
  try {
    response = await fetch(path, {
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: controller.signal,
      cache: "no-store",
    });
  } catch {
    signal?.removeEventListener("abort", abort);
    throw new Problem(0, "The server did not answer.");
  } finally {
    clearTimeout(timer);
  }
  if (response.ok) return response;
  let error;
  try {
    error = (await response.json()).error;
  } catch {
    error = null;
  }
  if (response.status === 401) session.expired();
  throw new Problem(response.status, error?.message || `The server answered ${response.status}.`, error?.code || "");
}

/**
 * @template T
 * @param {string} method
 * @param {string} path
 * @param {{body?: unknown, signal?: AbortSignal, key?: string}} [options]
 * @returns {Promise<T>}
 */
async function json(method, path, options) {
  const response = await call(method, path, options);
  try {
    return await response.json();
  } catch {
    throw new Problem(0, "The server's answer broke off.");
  }
}

/** @param {string} id */
const conversationPath = (id) => "/v1/conversations/" + encodeURIComponent(id);
/** @param {string} id */
const responsePath = (id) => "/v1/responses/" + encodeURIComponent(id);

/**
 * @param {string | null} after
 * @param {{archived?: boolean, pinned?: boolean}} [only]
 * @returns {Promise<ListPage<Conversation>>}
 */
export function listConversations(after, { archived, pinned } = {}) {
  const query = (after ? "&after=" + encodeURIComponent(after) : "") + (archived ? "&archived=true" : "") + (pinned ? "&pinned=true" : "");
  return json("GET", `/v1/conversations?limit=${pinned ? 100 : 50}` + query);
}

/** @param {string} key the same for every try @returns {Promise<Conversation>} */
export const createConversation = (key) => json("POST", "/v1/conversations", { body: {}, key });

/** @param {string} id @param {AbortSignal} [signal] @returns {Promise<Conversation>} */
export const getConversation = (id, signal) => json("GET", conversationPath(id), { signal });

/**
 * @param {string} id
 * @param {{title?: string, pinned?: boolean, archived?: boolean}} change
 * @returns {Promise<Conversation>}
 */
export const updateConversation = (id, change) => json("POST", conversationPath(id), { body: change });

/**
 * @param {string} id
 * @param {number} undo how many seconds it can be brought back
 * @returns {Promise<unknown>}
 */
export const deleteConversation = (id, undo) => json("DELETE", conversationPath(id) + "?undo=" + undo);

/** @param {string} id @returns {Promise<Conversation>} */
export const restoreConversation = (id) => json("POST", conversationPath(id) + "/restore");

/**
 * Items, newest first.
 * @param {string} id
 * @param {string | null} after the oldest item that is known
 * @param {AbortSignal} [signal]
 * @param {string | null} [branch] an item that the branch goes through; the active one without
 * @returns {Promise<ListPage<Item>>}
 */
export function listItems(id, after, signal, branch) {
  const query = "/items?limit=60&order=desc" + (after ? "&after=" + encodeURIComponent(after) : "") + (branch ? "&branch=" + encodeURIComponent(branch) : "");
  return json("GET", conversationPath(id) + query, { signal });
}

/** @param {string} id @param {string} item @param {AbortSignal} [signal] @returns {Promise<Item>} */
export const getItem = (id, item, signal) => json("GET", conversationPath(id) + "/items/" + encodeURIComponent(item), { signal });

/**
 * A page of what is found. Empty filters are none.
 * @param {{q: string, role: string, archived: string, order: string, cursor: string | null}} query
 * @param {AbortSignal} signal
 * @returns {Promise<import("./types").SearchResult>}
 */
export function search(query, signal) {
  const given = Object.entries(query).filter(([, value]) => value);
  return json("GET", "/v1/conversations/search?" + new URLSearchParams(/** @type {[string, string][]} */ (given)), { signal });
}

/** @returns {Promise<ListPage<Model>>} */
export const listModels = () => json("GET", "/v1/models");

/** A name of the build that the server's page is of. @returns {Promise<string>} */
export const serverBuild = async () => (await call("HEAD", "/ui/js/app.js")).headers.get("ETag") ?? "";

/** @returns {Promise<Lab>} */
export const getLab = () => json("GET", "/v1/lab");

/** @param {string} id @param {AbortSignal} [signal] @returns {Promise<Reply>} */
export const getResponse = (id, signal) => json("GET", responsePath(id), { signal });

/** Stops a reply; gives it as it ended. @param {string} id @returns {Promise<Reply>} */
export const cancelResponse = (id) => json("POST", responsePath(id) + "/cancel");

/**
 * Asks a question and reads the reply as it is written. Without input the
 * same is asked again. after is the item to go on from, null for none, and
 * continued a reply to go on with; head is where the sender saw the
 * conversation end.
 * @param {{input?: unknown, conversation: string, model: string | null, after?: string | null, continued?: string, head?: number}} question
 * @param {string} key the same for every try of the same question
 * @param {AbortSignal} signal
 * @returns {Promise<AsyncGenerator<StreamEvent, void, void>>}
 */
export async function createResponse({ input, conversation, model, after, continued, head }, key, signal) {
  const place = { id: conversation, after, continue: continued, head }; // what is undefined is not sent
  const body = { input, conversation: place, stream: true, ...(model ? { model } : {}) };
  return readEvents(await call("POST", "/v1/responses", { body, key, signal, stream: true }));
}

/**
 * Goes on reading a reply after an event; -1 reads it from its beginning.
 * @param {string} id
 * @param {number} after
 * @param {AbortSignal} signal
 * @returns {Promise<AsyncGenerator<StreamEvent, void, void>>}
 */
export async function followResponse(id, after, signal) {
  const query = "?stream=true" + (after >= 0 ? "&starting_after=" + after : "");
  return readEvents(await call("GET", responsePath(id) + query, { signal, stream: true }));
}
