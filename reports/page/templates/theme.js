"use strict";
// Light, dark or as the system has it; remembered where the browser allows it.
(() => {
  const root = document.documentElement;
  const order = ["system", "light", "dark"];
  const show = (theme) => {
    if (theme === "system") delete root.dataset.theme;
    else root.dataset.theme = theme;
  };
  let theme = "system";
  try {
    theme = localStorage.getItem("touchstone-theme") ?? theme;
  } catch { /* storage is off: nothing is remembered */ }
  if (!order.includes(theme)) theme = "system";
  show(theme);
  addEventListener("DOMContentLoaded", () => {
    const button = document.getElementById("theme");
    const say = () => { button.querySelector("span").textContent = theme; };
    button.hidden = false;
    say();
    button.addEventListener("click", () => {
      theme = order[(order.indexOf(theme) + 1) % order.length];
      show(theme);
      say();
      try {
        localStorage.setItem("touchstone-theme", theme);
      } catch { /* as above */ }
    });
  });
})();
