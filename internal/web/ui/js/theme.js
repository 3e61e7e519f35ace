// The chosen theme, set before anything is drawn; no choice is the system's.
(() => {
  const key = "hwlab.theme";
  const apply = () => {
    let theme = null;
    try {
      theme = localStorage.getItem(key);
    } catch {
      // Storage is refused: the system decides.
    }
    if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
    else delete document.documentElement.dataset.theme;
    const select = document.querySelector("#theme");
    if (select instanceof HTMLSelectElement) select.value = document.documentElement.dataset.theme ?? "";
  };
  apply();
  window.addEventListener("storage", (event) => {
    if (event.key === key) apply();
  });
  document.addEventListener("DOMContentLoaded", () => {
    apply();
    const select = document.querySelector("#theme");
    if (!(select instanceof HTMLSelectElement)) return;
    select.addEventListener("change", () => {
      if (select.value) document.documentElement.dataset.theme = select.value;
      else delete document.documentElement.dataset.theme;
      try {
        localStorage.setItem(key, select.value);
      } catch {
        // It holds for this page.
      }
    });
  });
})();
