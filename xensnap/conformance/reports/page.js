"use strict";
const cases = [...document.querySelectorAll("details.case")];
const wanted = ["search", "host", "state", "profile", "level"].map(id => document.getElementById(id));
const [search] = wanted;

function filter() {
  const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const one of cases) {
    const text = one.textContent.toLowerCase();
    const requirements = one.dataset.requirements.toLowerCase().split(" ");
    const there = wanted.slice(1).every(input => !input.value || one.dataset[input.id] === input.value)
      && words.every(word => requirements.includes(word) || text.includes(word));
    one.hidden = !there;
    shown += there;
  }
  document.getElementById("shown").textContent = `${shown} of ${cases.length} cases`;
}

function stepped(one, step) {
  const deeds = [...one.querySelectorAll(".deeds > li")];
  const at = deeds.findIndex(deed => deed.classList.contains("now"));
  const next = Math.min(Math.max(at + step, 0), deeds.length - 1);
  deeds.forEach((deed, number) => {
    deed.classList.toggle("now", number === next);
    if (number === next) deed.setAttribute("aria-current", "step"); else deed.removeAttribute("aria-current");
    const more = deed.querySelector("details");
    if (more) more.open = number === next;
  });
  const [back, on] = one.querySelectorAll(".step button");
  back.disabled = next === 0;
  on.disabled = next === deeds.length - 1;
  if (document.activeElement === document.body || document.activeElement.disabled) (on.disabled ? back : on).focus();
  one.querySelector(".step output").textContent = `${next + 1} of ${deeds.length}: ${deeds[next].dataset.told}`;
  deeds[next].scrollIntoView({ block: "nearest" });
}

function moved(step) {
  const shown = cases.filter(one => !one.hidden);
  const at = shown.findIndex(one => one.contains(document.activeElement));
  const next = shown[Math.min(Math.max(at + step, 0), shown.length - 1)];
  next?.querySelector("summary").focus();
}

for (const input of wanted) for (const event of ["input", "change"]) input.addEventListener(event, filter);
document.querySelector(".filters").addEventListener("submit", event => {
  event.preventDefault();
  moved(1);
});
document.querySelector(".filters").addEventListener("reset", () => setTimeout(filter));
document.addEventListener("click", event => {
  const button = event.target.closest("button");
  if (button?.dataset.step) stepped(button.closest(".case"), Number(button.dataset.step));
  if (button?.dataset.requirement) {
    search.value = button.dataset.requirement;
    filter();
    search.focus();
  }
});
document.addEventListener("keydown", event => {
  if (event.ctrlKey || event.altKey || event.metaKey || event.target.matches("input, select")) return;
  const one = event.target.closest("details.case[open]");
  if (event.key === "/") search.focus();
  else if (event.key === "j") moved(1);
  else if (event.key === "k") moved(-1);
  else if (event.key === "ArrowRight" && one) stepped(one, 1);
  else if (event.key === "ArrowLeft" && one) stepped(one, -1);
  else return;
  event.preventDefault();
});
for (const one of cases) one.querySelector(".step button")?.setAttribute("disabled", "");
filter();
