// Keys for the queue and the case page; everything they do has a link or a button of its own.
(() => {
  "use strict";
  const rows = [...document.querySelectorAll("#queue tbody tr")];
  let at = -1;
  const go = (to) => {
    if (!rows.length) return;
    at = Math.min(Math.max(to, 0), rows.length - 1);
    rows[at].querySelector("a").focus();
  };
  document.addEventListener("keydown", (event) => {
    const typing = event.target.matches("input:not([type=checkbox]), select, textarea");
    if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
    const named = document.querySelector(`[data-key="${CSS.escape(event.key)}"]`);
    if (event.key === "j") go(at + 1);
    else if (event.key === "k") go(at - 1);
    else if (event.key === "x" && at >= 0) rows[at].querySelector("input").click();
    else if (named && named.matches("input, select")) { named.focus(); }
    else if (named) named.click();
    else return;
    event.preventDefault();
  });
})();
