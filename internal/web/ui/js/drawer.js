/** On a narrow screen the list of conversations is a drawer over the thread. */
import { byId } from "./dom.js";

export class Drawer {
  constructor() {
    this.menu = byId("menu");
    this.sidebar = byId("sidebar");
    this.main = byId("main");
    this.menu.addEventListener("click", () => this.open());
    byId("close-drawer").addEventListener("click", () => this.close());
    byId("scrim").addEventListener("click", () => this.close());
    this.sidebar.addEventListener("keydown", (event) => {
      if (event.key === "Escape") this.close();
    });
    window.matchMedia("(min-width: 761px)").addEventListener("change", () => this.close());
  }

  get isOpen() {
    return document.body.classList.contains("drawer-open");
  }

  open() {
    document.body.classList.add("drawer-open");
    this.menu.setAttribute("aria-expanded", "true");
    this.main.inert = true;
    byId("close-drawer").focus();
  }

  close() {
    if (!this.isOpen) return;
    document.body.classList.remove("drawer-open");
    this.menu.setAttribute("aria-expanded", "false");
    this.main.inert = false;
    this.menu.focus({ preventScroll: true });
  }
}
