// What every page has: the switch between light and dark, commands to copy, words beside what the pointer is on.
const root = document.documentElement;

document.getElementById("scheme").addEventListener("click", () => {
  const dark = root.dataset.scheme
    ? root.dataset.scheme === "dark"
    : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.scheme = dark ? "light" : "dark";
  localStorage.setItem("scheme", root.dataset.scheme);
});

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  const before = button.textContent;
  if (navigator.clipboard) {
    await navigator.clipboard.writeText(button.dataset.copy);
    button.textContent = "Copied";
  } else {
    // Browsers have no clipboard for a page that comes over HTTP from another machine.
    getSelection().selectAllChildren(button.previousElementSibling);
    button.textContent = "Selected";
  }
  setTimeout(() => (button.textContent = before), 1500);
});

// Whatever has data-tip says it, to the pointer and to the keyboard's focus.
const tip = document.getElementById("tip");
const show = (event) => {
  const on = event.target.closest?.("[data-tip]");
  tip.hidden = !on;
  if (!on) return;
  tip.textContent = on.dataset.tip;
  const box = on.getBoundingClientRect();
  const x = event.type === "focusin" ? box.left : event.clientX;
  const y = event.type === "focusin" ? box.bottom : event.clientY;
  tip.style.left = `${Math.max(4, Math.min(x + 12, innerWidth - tip.offsetWidth - 8))}px`;
  tip.style.top = `${Math.min(y + 14, innerHeight - tip.offsetHeight - 8)}px`;
};
document.addEventListener("pointermove", show);
document.addEventListener("focusin", show);
document.addEventListener("keydown", (event) => { if (event.key === "Escape") tip.hidden = true; });

// On paper the foot says where this was asked: the address changes with the question.
const keepAddress = () => (document.getElementById("address").textContent = location.href);
addEventListener("beforeprint", keepAddress);
matchMedia("print").addEventListener("change", keepAddress);

// A field that nobody filled in is no part of the address.
document.addEventListener("htmx:configRequest", (event) => {
  if (!event.target.matches("form.filters")) return;
  const sent = event.detail.parameters;
  for (const name of [...sent.keys()]) if (sent.get(name) === "") sent.delete(name);
});

// Old content stays while new is on its way, and says that it is old.
document.addEventListener("htmx:beforeRequest", (event) => event.detail.target.setAttribute("aria-busy", "true"));
document.addEventListener("htmx:afterRequest", (event) => event.detail.target.removeAttribute("aria-busy"));

// What changes by itself comes over one connection. While that is gone the page says so, and since when.
let silentSince = null;
document.addEventListener("htmx:sseError", () => { silentSince ??= Date.now(); });
document.addEventListener("htmx:sseOpen", () => { silentSince = null; });
setInterval(() => {
  if (silentSince === null) return;
  const seconds = Math.round((Date.now() - silentSince) / 1000);
  if (seconds < 5) return;
  const for_ = seconds < 120 ? `${seconds} s` : `${Math.round(seconds / 60)} min`;
  document.getElementById("now").innerHTML = `<span class="state away">this page's server silent for ${for_}</span>`;
}, 1000);
