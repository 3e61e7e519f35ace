/**
 * What the page keeps in the browser: drafts, questions under way and the
 * chosen model. Storage may be refused (private windows, full disks), and then
 * the page works on without it.
 */

const PREFIX = "hwlab.";

/** @param {string} key @returns {string | null} */
export function load(key) {
  try {
    return localStorage.getItem(PREFIX + key);
  } catch {
    return null;
  }
}

/** @param {string} key @param {string | null} value */
export function save(key, value) {
  try {
    if (value === null || value === "") localStorage.removeItem(PREFIX + key);
    else localStorage.setItem(PREFIX + key, value);
  } catch {
    // Kept in the page only.
  }
}

/**
 * The name under which a conversation keeps things; "new" before it exists.
 * @param {string | null} id
 */
const place = (id) => id ?? "new";

/** @param {string | null} id */
export const loadDraft = (id) => load("draft." + place(id)) ?? "";

/** @param {string | null} id @param {string} text */
export const saveDraft = (id, text) => save("draft." + place(id), text);

/**
 * A question that was handed to the network and not yet confirmed.
 * @typedef {{text: string, key: string, model: string | null, after?: string | null, files?: import("./types").ContentPart[]}} Outgoing
 */

/** @param {string | null} id @returns {Outgoing | null} */
export function loadOutgoing(id) {
  try {
    const value = JSON.parse(load("outgoing." + place(id)) ?? "null");
    return value && typeof value.text === "string" && typeof value.key === "string" ? value : null;
  } catch {
    return null;
  }
}

/** @param {string | null} id @param {Outgoing | null} value */
export const saveOutgoing = (id, value) => save("outgoing." + place(id), value && JSON.stringify(value));

/** Forgets all about a conversation. @param {string} id */
export function forget(id) {
  saveDraft(id, "");
  saveOutgoing(id, null);
}

/**
 * A random name. crypto.randomUUID is missing on plain HTTP; getRandomValues
 * is there everywhere.
 */
export function randomKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (b) => b.toString(16).padStart(2, "0")).join("");
}
