// Pairs with the PIN of a scanned code. It is in the fragment of the address, which browsers do not send.

const form = document.getElementById("pair");
const name = document.getElementById("name");
const pin = new URLSearchParams(location.hash.slice(1)).get("pin");

// Out of the address and the history, in which another user of this browser could find it.
if (location.hash) history.replaceState(null, "", location.pathname);
if (name && !name.value) name.value = device();
if (form && pin && !form.hidden) {
  document.getElementById("pin").value = pin;
  form.requestSubmit();
}

function device() {
  const agent = navigator.userAgent;
  const known = ["Quest", "Pico", "Vision", "iPhone", "iPad", "Android", "Windows", "Macintosh", "Linux"];
  return known.find((one) => agent.includes(one)) ?? "browser";
}
