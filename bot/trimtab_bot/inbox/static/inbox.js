// Reloads the page when the bot has something new, unless a person is typing; then a line says so instead.
"use strict";
(() => {
  const shown = document.body.dataset.revision;
  if (!shown) return;
  const typing = () => {
    const field = document.activeElement;
    return Boolean(field && field.matches("input, textarea")) ||
      [...document.querySelectorAll("input:not([type=hidden])")].some((input) => input.value !== "");
  };
  const look = async () => {
    try {
      const answer = await fetch("/revision", { cache: "no-store" });
      if (answer.status === 401) { location.assign("/login"); return; }
      if (answer.ok && (await answer.text()) !== shown) {
        if (!typing()) { location.reload(); return; }
        document.getElementById("changed").hidden = false;
      }
    } catch { /* the bot restarts now and then; the next look finds it again */ }
    setTimeout(look, 3000);
  };
  setTimeout(look, 3000);
})();
