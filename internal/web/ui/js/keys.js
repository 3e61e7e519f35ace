/** The keys that work everywhere on the page, in the message box too. */
import { byId } from "./dom.js";

/**
 * @param {{search: () => void, fresh: () => void, sidebar: () => void, copyCode: () => void, compose: () => void, stop: () => boolean, editLast: () => void}} page
 */
export function listenToKeys(page) {
  const help = /** @type {HTMLDialogElement} */ (byId("help"));
  const box = /** @type {HTMLTextAreaElement} */ (byId("message"));
  /** @type {Record<string, () => void>} by the letter, or by its place where the letters are not Latin */
  const shifted = { o: page.fresh, KeyO: page.fresh, s: page.sidebar, KeyS: page.sidebar, ";": page.copyCode, ":": page.copyCode, Semicolon: page.copyCode };
  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.isComposing || event.keyCode === 229 || event.altKey) return;
    const ctrl = event.ctrlKey || event.metaKey;
    if (document.querySelector("dialog[open]")) {
      if (ctrl && event.key === "/") help.close();
      return;
    }
    const key = event.key.toLowerCase();
    const name = /^[a-z]$/.test(key) || key in shifted ? key : event.code;
    if (ctrl && event.shiftKey && name in shifted) shifted[name]();
    else if (ctrl && event.key === "/") help.showModal();
    else if (ctrl && !event.shiftKey && (name === "k" || name === "KeyK")) page.search();
    else if (event.key === "Escape" && event.shiftKey) page.compose();
    else if (event.key === "Escape" && !ctrl) {
      // A popup closes by itself, and first.
      if (document.querySelector(":popover-open") || !page.stop()) return;
    } else if (event.key === "ArrowUp" && event.target === box && box.value === "" && !ctrl && !event.shiftKey) page.editLast();
    else return;
    event.preventDefault();
  });
}
