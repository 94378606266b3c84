// Nothing here is needed: every page works without it.
// Keeps the live page current, and the idle warning in step with what really happens.
(() => {
  "use strict";
  document.documentElement.classList.add("js");

  const main = document.getElementById("live");
  const pulse = document.getElementById("pulse");
  if (main && pulse) {
    const source = new EventSource("/events");
    source.addEventListener("main", (event) => {
      const { clock, html } = JSON.parse(event.data);
      main.innerHTML = html; // Rendered and escaped by our own server.
      pulse.textContent = `${clock} UTC`;
    });
    source.onerror = () => { pulse.textContent = "connection lost, trying again"; };
  }

  const idle = document.getElementById("idle");
  if (idle) {
    const minute = 60_000;
    let warn = 0;
    let end = 0;
    const begin = () => {
      clearTimeout(warn);
      clearTimeout(end);
      idle.classList.remove("now");
      warn = setTimeout(() => idle.classList.add("now"), 13 * minute);
      end = setTimeout(() => { location.href = "/login?ended=idle"; }, 15 * minute + 1000);
    };
    idle.addEventListener("submit", (event) => {
      event.preventDefault();
      const token = document.querySelector("input[name=form_token]");
      fetch("/stay", { method: "POST", headers: { "X-Form-Token": token ? token.value : "" } })
        .then((answer) => { if (answer.status === 204) { begin(); } else { location.reload(); } });
    });
    begin();
  }

  for (const form of document.querySelectorAll("form[data-confirm]")) {
    form.addEventListener("submit", (event) => { if (!confirm(form.dataset.confirm)) event.preventDefault(); });
  }
  const wrong = document.getElementById("wrong");
  if (wrong) { wrong.tabIndex = -1; wrong.focus(); }
})();
