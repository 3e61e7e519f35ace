/** Small helpers around the DOM. */

/**
 * Makes an element. `class` and attributes are set as attributes, `on…` adds a
 * listener, true is an empty attribute, false and null are left out.
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {Record<string, unknown>} [props]
 * @param {...(Node | string | null | undefined)} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function h(tag, props = {}, ...children) {
  const el = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === false || value === null || value === undefined) continue;
    if (name.startsWith("on")) {
      el.addEventListener(name.slice(2), /** @type {EventListener} */ (value));
    } else {
      el.setAttribute(name, value === true ? "" : String(value));
    }
  }
  for (const child of children) if (child !== null && child !== undefined) el.append(child);
  return el;
}

/**
 * The element with this id; index.html and the modules agree on these.
 * @template {HTMLElement} [T=HTMLElement]
 * @param {string} id
 * @returns {T}
 */
export function byId(id) {
  const el = document.getElementById(id);
  if (!el) throw new Error(`index.html has no #${id}`);
  return /** @type {T} */ (el);
}

/** @type {Record<string, string>} */
const ICONS = {
  more: "M3.2 8h.01M8 8h.01M12.8 8h.01",
};

/**
 * @param {"more"} name
 * @returns {SVGSVGElement}
 */
export function icon(name) {
  const ns = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(ns, "svg");
  svg.setAttribute("viewBox", "0 0 16 16");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(ns, "path");
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  return svg;
}

/**
 * Copies text. The clipboard API needs a secure context and a homelab page is
 * mostly plain HTTP, so execCommand is the usual road. Focus and selection are
 * put back.
 * @param {string} text
 * @returns {Promise<boolean>}
 */
export async function copyText(text) {
  if (window.isSecureContext && navigator.clipboard) {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch {
      // Refused: the old way may still work.
    }
  }
  const focused = document.activeElement;
  const selection = document.getSelection();
  const ranges = [];
  for (let i = 0; selection && i < selection.rangeCount; i++) ranges.push(selection.getRangeAt(i));
  // The listener hands over the exact text; the textarea only makes a
  // selection, without which some browsers do not copy at all.
  const area = h("textarea", { class: "offscreen", "aria-hidden": "true", tabindex: "-1", readonly: true });
  area.value = text;
  /** @param {ClipboardEvent} event */
  const give = (event) => {
    event.clipboardData?.setData("text/plain", text);
    event.preventDefault();
    event.stopImmediatePropagation();
  };
  document.body.append(area);
  area.select();
  document.addEventListener("copy", give, true);
  let done = false;
  try {
    done = document.execCommand("copy");
  } catch {
    done = false;
  }
  document.removeEventListener("copy", give, true);
  area.remove();
  if (focused instanceof HTMLElement) focused.focus({ preventScroll: true });
  if (selection && ranges.length > 0) {
    selection.removeAllRanges();
    for (const range of ranges) selection.addRange(range);
  }
  return done;
}

/**
 * A button that copies what `text` gives when it is pressed.
 * @param {string} label
 * @param {() => string} text
 * @returns {HTMLButtonElement}
 */
export function copyButton(label, text) {
  const button = h("button", { type: "button", class: "copy" }, "Copy");
  button.setAttribute("aria-label", label);
  let timer = 0;
  button.addEventListener("click", async () => {
    const done = await copyText(text());
    button.textContent = done ? "Copied" : "Not copied";
    button.removeAttribute("aria-label");
    clearTimeout(timer);
    timer = window.setTimeout(() => {
      button.textContent = "Copy";
      button.setAttribute("aria-label", label);
    }, 1600);
  });
  return button;
}

/**
 * @param {number} count
 * @param {string} one
 * @param {string} [many]
 */
export function plural(count, one, many = one + "s") {
  return `${count} ${count === 1 ? one : many}`;
}

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const day = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
const full = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "medium" });

/**
 * A time as people read it: the hour today, with the date before that.
 * @param {number} unix seconds
 * @returns {HTMLTimeElement}
 */
export function timeElement(unix) {
  const date = new Date(unix * 1000);
  const now = new Date();
  let text = clock.format(date);
  if (date.toDateString() !== now.toDateString()) {
    text = day.format(date) + (date.getFullYear() === now.getFullYear() ? "" : ` ${date.getFullYear()}`) + ", " + text;
  }
  return h("time", { datetime: date.toISOString(), title: full.format(date) }, text);
}

/** True where a finger is the main pointer. */
export function isTouch() {
  return window.matchMedia("(pointer: coarse)").matches;
}

/**
 * A promise that ends after `ms`, or at once when the page is shown or comes
 * online again; false when the signal stops it.
 * @param {number} ms
 * @param {AbortSignal} signal
 * @returns {Promise<boolean>}
 */
export function pause(ms, signal) {
  return new Promise((resolve) => {
    if (signal.aborted) {
      resolve(false);
      return;
    }
    const end = () => {
      clearTimeout(timer);
      window.removeEventListener("online", end);
      document.removeEventListener("visibilitychange", shown);
      signal.removeEventListener("abort", end);
      resolve(!signal.aborted);
    };
    const shown = () => {
      if (!document.hidden) end();
    };
    const timer = setTimeout(end, ms);
    window.addEventListener("online", end);
    document.addEventListener("visibilitychange", shown);
    signal.addEventListener("abort", end);
  });
}
