/**
 * What the page keeps in the browser: drafts, questions under way and the
 * chosen model, and in a database of its own their files, for which
 * localStorage is too small. Storage may be refused (private windows, full
 * disks), and then the page works on without it.
 */

/** @typedef {import("./types").ContentPart} Part */

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

/** @param {string | null} id */
export const loadDraftFiles = (id) => loadFiles("draft." + place(id));

/** @param {string | null} id @param {Part[]} parts */
export const saveDraftFiles = (id, parts) => saveFiles("draft." + place(id), parts);

/**
 * A question that was handed to the network and not yet confirmed. Every try
 * of it has the same key and the same body. head is where its sender saw the
 * conversation end, why what became of the last try.
 * @typedef {{text: string, key: string, model: string | null, head?: number, after?: string | null, files?: Part[], why?: string}} Outgoing
 */

/** @param {string | null} id @returns {Promise<Outgoing | null>} */
export async function loadOutgoing(id) {
  try {
    const value = JSON.parse(load("outgoing." + place(id)) ?? "null");
    if (typeof value?.text !== "string" || typeof value.key !== "string") return null;
    return value.files ? { ...value, files: await loadFiles("outgoing." + place(id)) } : value;
  } catch {
    return null;
  }
}

/** @param {string | null} id @param {Outgoing | null} value */
export function saveOutgoing(id, value) {
  save("outgoing." + place(id), value && JSON.stringify({ ...value, files: value.files && [] }));
  void saveFiles("outgoing." + place(id), value?.files ?? []);
}

/** Forgets all about a conversation. @param {string} id */
export function forget(id) {
  saveDraft(id, "");
  void saveDraftFiles(id, []);
  saveOutgoing(id, null);
}

/** @type {Promise<IDBDatabase> | undefined} */
let opening;

/** @param {IDBTransactionMode} mode */
async function files(mode) {
  opening ??= new Promise((resolve, reject) => {
    const request = indexedDB.open("hwlab", 1);
    request.onupgradeneeded = () => request.result.createObjectStore("files");
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
  return (await opening).transaction("files", mode).objectStore("files");
}

/** @param {string} name @returns {Promise<Part[]>} */
async function loadFiles(name) {
  try {
    const request = (await files("readonly")).get(name);
    return await new Promise((resolve, reject) => {
      request.onsuccess = () => resolve(request.result ?? []);
      request.onerror = () => reject(request.error);
    });
  } catch {
    return [];
  }
}

/** @param {string} name @param {Part[]} parts */
async function saveFiles(name, parts) {
  try {
    const store = await files("readwrite");
    if (parts.length > 0) store.put(parts, name);
    else store.delete(name);
  } catch {
    // Kept in the page only.
  }
}

/**
 * A random name. crypto.randomUUID is missing on plain HTTP; getRandomValues
 * is there everywhere.
 */
export function randomKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (b) => b.toString(16).padStart(2, "0")).join("");
}
