// Lists the paired browsers and revokes them.

const REFRESH_MS = 5000;
const rows = document.getElementById("browsers");
const message = document.getElementById("message");

const time = (seconds) => new Date(seconds * 1000).toLocaleString();

async function refresh() {
  const answer = await fetch("browsers/list");
  const found = answer.ok ? await answer.json() : [];
  message.textContent = answer.ok ? (found.length ? "" : "No browser is paired.") : await answer.text();
  rows.replaceChildren(...found.map(row));
}

function row(one) {
  const made = document.createElement("tr");
  const seen = one.connected ? "connected" : time(one.seen_s);
  const texts = [one.is_this ? `${one.name} (this one)` : one.name, one.role, time(one.created_s), seen];
  for (const text of texts) {
    const cell = document.createElement("td");
    cell.textContent = text;
    made.append(cell);
  }
  const button = document.createElement("button");
  button.textContent = "Revoke";
  button.setAttribute("aria-label", `Revoke ${one.name}`);
  button.addEventListener("click", async () => {
    await fetch(`browsers/${one.browser}`, { method: "DELETE" });
    await refresh();
  });
  const cell = document.createElement("td");
  cell.append(button);
  made.append(cell);
  return made;
}

await refresh();
setInterval(refresh, REFRESH_MS);
