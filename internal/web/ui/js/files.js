/** Images and files that go with a question. */
import { byId, h } from "./dom.js";

/** @typedef {import("./types").ContentPart} Part */

/** What one question may carry, in bytes; a request is read up to 32 MiB. */
const MOST = 20_000_000;
/** A pasted text with more characters than this is attached. */
const LONG = 8000;

/**
 * Reads a file as a part of a message; throws what to tell the person.
 * @param {File} file
 * @returns {Promise<Part>}
 */
async function readPart(file) {
  if (file.size > MOST) throw new Error(`${file.name} is too large; up to 20 MB can be sent.`);
  const bytes = new Uint8Array(await file.arrayBuffer());
  const image = /^image\/(png|jpeg|gif|webp)$/.test(file.type);
  const pdf = String.fromCharCode(...bytes.subarray(0, 5)) === "%PDF-";
  if (!image && !pdf && !isText(bytes)) throw new Error(`${file.name} is no image, text or PDF; it was not attached.`);
  const type = image ? file.type : pdf ? "application/pdf" : "text/plain";
  const data = await dataUrl(new Blob([bytes], { type }));
  return image ? { type: "input_image", image_url: data, filename: file.name } : { type: "input_file", filename: file.name || "file.txt", file_data: data };
}

/** @param {Uint8Array} bytes */
function isText(bytes) {
  try {
    new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    return !bytes.includes(0);
  } catch {
    return false;
  }
}

/** @param {Blob} blob @returns {Promise<string>} */
function dataUrl(blob) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(String(reader.result));
    reader.onerror = () => reject(new Error("The file could not be read."));
    reader.readAsDataURL(blob);
  });
}

/** What is attached to the question being written. */
export class Files {
  /**
   * @param {(byHand: boolean) => void} changed byHand is false where a draft is shown
   * @param {(text: string) => void} inline puts a text into the message box
   */
  constructor(changed, inline) {
    this.changed = changed;
    this.inline = inline;
    this.list = byId("files");
    this.warning = byId("files-warning");
    /** @type {Part[]} */
    this.parts = [];
    /** What the model does not take. */
    this.limit = "";
    /** Why something was not attached. */
    this.problem = "";
    this.adding = Promise.resolve();
    const input = /** @type {HTMLInputElement} */ (byId("attach-files"));
    byId("attach").addEventListener("click", () => input.click());
    input.addEventListener("change", () => {
      this.queue([...(input.files ?? [])]);
      input.value = "";
    });
    const box = byId("message");
    let asText = false;
    box.addEventListener("keydown", (event) => (asText = (event.ctrlKey || event.metaKey) && event.shiftKey && event.key.toLowerCase() === "v"));
    box.addEventListener("keyup", () => (asText = false));
    box.addEventListener("paste", (event) => this.paste(event, asText));
    document.addEventListener("dragover", (event) => {
      if (!event.dataTransfer?.types.includes("Files")) return;
      event.preventDefault();
      document.body.classList.add("dropping");
    });
    document.addEventListener("dragleave", (event) => {
      if (!event.relatedTarget) document.body.classList.remove("dropping");
    });
    document.addEventListener("drop", (event) => {
      document.body.classList.remove("dropping");
      this.take(event, event.dataTransfer);
    });
  }

  /** @param {ClipboardEvent} event @param {boolean} asText */
  paste(event, asText) {
    const data = event.clipboardData;
    const text = data?.getData("text/plain") ?? "";
    // Office programs put a picture of the text beside it.
    if (text === "" || !data?.types.includes("text/html")) this.take(event, data);
    if (event.defaultPrevented || asText || text.length <= LONG) return;
    event.preventDefault();
    const taken = new Set(this.parts.map(nameOf));
    let name = "pasted.txt";
    for (let n = 2; taken.has(name); n++) name = `pasted-${n}.txt`;
    this.queue([new File([text], name, { type: "text/plain" })]);
  }

  /** @param {Event} event @param {DataTransfer | null} data */
  take(event, data) {
    if (!data || data.files.length === 0) return;
    event.preventDefault();
    this.queue([...data.files]);
  }

  /** One after the other, in their order. @param {File[]} files */
  queue(files) {
    this.adding = this.adding.then(() => this.add(files));
  }

  /** @param {File[]} files */
  async add(files) {
    this.problem = "";
    for (const file of files) {
      try {
        const part = await readPart(file);
        const all = [...this.parts, part].reduce((sum, one) => sum + (one.image_url ?? one.file_data ?? "").length * 0.75, 0);
        if (all > MOST) throw new Error(`${file.name} is too much; up to 20 MB can be sent together.`);
        this.parts.push(part);
      } catch (error) {
        this.problem = error instanceof Error ? error.message : "The file could not be read.";
      }
    }
    this.render(true);
  }

  /** @param {string} limit what the chosen model does not take, in a sentence; "" for nothing */
  setLimit(limit) {
    this.limit = limit;
    this.warn();
  }

  /** @param {Part[]} parts @param {boolean} [byHand] */
  set(parts, byHand = true) {
    this.parts = parts;
    this.problem = "";
    this.render(byHand);
  }

  warn() {
    const images = this.parts.some((part) => part.type === "input_image");
    const text = [this.problem, images ? this.limit : ""].filter(Boolean).join(" ");
    this.warning.hidden = text === "";
    if (this.warning.textContent !== text) this.warning.textContent = text;
  }

  /** @param {Part} part */
  remove(part) {
    this.set(this.parts.filter((one) => one !== part));
  }

  /** @param {boolean} byHand */
  render(byHand) {
    this.warn();
    this.list.hidden = this.parts.length === 0;
    this.list.replaceChildren(
      ...this.parts.map((part) => {
        const name = nameOf(part);
        const remove = h("button", { type: "button", class: "copy", "aria-label": "Remove " + name }, "×");
        remove.addEventListener("click", () => {
          this.remove(part);
          byId("attach").focus();
        });
        const text = textOf(part);
        if (text === null) return h("li", {}, part.image_url ? h("img", { src: part.image_url, alt: "" }) : null, h("span", {}, name), remove);
        const inline = h("button", { type: "button", class: "copy", "aria-label": `Put inline: ${name}` }, "Put inline");
        inline.addEventListener("click", () => {
          this.remove(part);
          this.inline(text);
        });
        return h("li", {}, h("span", {}, name), h("span", { class: "size" }, `${text.length.toLocaleString("en")} characters`), inline, remove);
      }),
    );
    this.changed(byHand);
  }
}

/** What is in a file that is text; null for others. @param {Part} part */
function textOf(part) {
  const data = part.file_data?.startsWith("data:text/") ? part.file_data.split(",")[1] : null;
  return data ? new TextDecoder().decode(Uint8Array.from(atob(data), (c) => c.charCodeAt(0))) : null;
}

/** @param {Part} part */
const nameOf = (part) => part.filename || (part.type === "input_image" ? "image" : "file");

/**
 * What was sent with a question; pictures of other servers are only named.
 * @param {Part[]} parts
 * @returns {HTMLElement | null}
 */
export function attachedElement(parts) {
  if (parts.length === 0) return null;
  return h(
    "ul",
    { class: "attached", "aria-label": "Attached" },
    ...parts.map((part) =>
      h("li", {}, part.image_url?.startsWith("data:image/") ? h("img", { src: part.image_url, alt: nameOf(part) }) : (part.image_url ?? nameOf(part))),
    ),
  );
}

/** The parts of an item that are not text. @param {import("./types").Item} item */
export const attachedTo = (item) => (item.content ?? []).filter((part) => part.type === "input_image" || part.type === "input_file");
