// Sliders gray out what takes more than they allow, at once and without asking the server; the address keeps them.
const digits = (value) => Number(value.toPrecision(3));
const shown = (value, unit) => {
  if (unit === "s") {
    const whole = Math.round(value); // rounded first: 119.7 s are 2 min
    return whole >= 60 ? `${Math.floor(whole / 60)} min ${whole % 60} s` : `${digits(value)} s`;
  }
  const rounded = digits(value); // likewise 999.7 J are 1 kJ
  const [prefix, factor] = rounded >= 1e6 ? ["M", 1e6] : rounded >= 1e3 ? ["k", 1e3] : ["", 1];
  return `${digits(value / factor)} ${prefix}${unit}`;
};
const limit = (slider) => {
  const { least, most } = slider.dataset;
  const share = slider.value / slider.max;
  return share === 1 ? Infinity : least * (most / least) ** share * (1 + 1e-9);
};

function apply() {
  const [joules, seconds] = ["max_joules", "max_seconds"].map((id) => document.getElementById(id));
  if (!joules) return;
  const most = { joules: limit(joules), seconds: seconds ? limit(seconds) : Infinity };
  for (const [slider, value] of [[joules, most.joules], [seconds, most.seconds]]) {
    if (!slider) continue;
    const text = shown(Number.isFinite(value) ? value : Number(slider.dataset.most), slider.dataset.unit);
    document.getElementById(`${slider.id}_out`).textContent = text;
    slider.setAttribute("aria-valuetext", text);
  }
  let meeting = 0, all = 0;
  for (const mark of document.querySelectorAll("#compared [data-joules]")) {
    const time = mark.dataset.seconds === "" ? Infinity : Number(mark.dataset.seconds);
    const misses = Number(mark.dataset.joules) > most.joules || (Number.isFinite(most.seconds) && !(time <= most.seconds));
    mark.classList.toggle("misses", misses);
    if (mark.matches("td:not(.unfit)")) { all += 1; meeting += !misses; }
  }
  document.getElementById("meeting").textContent = `${meeting} of ${all} that fit meet this`;
}

function keep() {
  const address = new URL(location);
  for (const id of ["max_joules", "max_seconds"]) {
    const slider = document.getElementById(id);
    if (slider && Number.isFinite(limit(slider))) address.searchParams.set(id, digits(limit(slider)));
    else address.searchParams.delete(id);
  }
  history.replaceState(history.state, "", address);
}

function begin() {
  for (const id of ["max_joules", "max_seconds"]) {
    const slider = document.getElementById(id);
    if (!slider) continue;
    const { least, most, chosen } = slider.dataset;
    slider.value = Math.round((slider.max * Math.log(chosen / least)) / Math.log(most / least) || slider.max);
    slider.value = most === least || Number(chosen) >= Number(most) ? slider.max : slider.value;
  }
  apply();
}

document.addEventListener("input", (event) => { if (event.target.closest("#sliders")) apply(); });
document.addEventListener("change", (event) => { if (event.target.closest("#sliders")) keep(); });
document.addEventListener("htmx:afterSettle", begin);
// What the sliders say and what was laid goes along with every question.
document.addEventListener("htmx:configRequest", (event) => {
  if (!event.target.closest("#settings, #lay")) return;
  const kept = new URL(location).searchParams;
  for (const id of ["max_joules", "max_seconds", "sort", "rows"]) if (kept.has(id)) event.detail.parameters.set(id, kept.get(id));
  if (event.target.closest("#settings")) for (const pick of kept.getAll("pick")) event.detail.parameters.append("pick", pick);
});

// A table of scores is read here, sent with each question and kept nowhere else.
let table = null;
let score = "";
let asked = 0; // an answer that comes after a later question is of settings that are no longer there
async function against() {
  if (table === null) return;
  const mine = ++asked;
  const address = new URL("/compare/quality", location);
  address.search = location.search;
  if (score) address.searchParams.set("by", score);
  const answer = await fetch(address, { method: "POST", body: table, headers: { "content-type": "text/csv", "hx-request": "true" } });
  const html = await answer.text();
  const front = document.getElementById("front");
  if (mine !== asked || !front) return;
  // A problem comes as a whole page.
  front.innerHTML = answer.ok ? html : new DOMParser().parseFromString(html, "text/html").getElementById("main").innerHTML;
  apply();
}
document.addEventListener("change", async (event) => {
  if (event.target.id === "quality") { table = (await event.target.files[0]?.text()) ?? null; score = ""; await against(); }
  if (event.target.id === "score") { score = event.target.value; await against(); }
});
document.addEventListener("htmx:afterSettle", (event) => { if (event.target.id === "compared") against(); });
begin();
