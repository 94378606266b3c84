// Keeps the page current: each server-sent event carries the page's main part, rendered by the server.
// Without JavaScript the page reloads itself every five seconds instead.
(() => {
  const main = document.getElementById("live");
  const pulse = document.getElementById("pulse");
  const source = new EventSource("/events");
  source.addEventListener("main", (event) => {
    const { clock, html } = JSON.parse(event.data);
    main.innerHTML = html; // Rendered and escaped by our own server.
    pulse.textContent = `${clock} UTC`;
  });
  source.onerror = () => { pulse.textContent = "connection lost, trying again"; };
})();
