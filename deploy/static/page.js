"use strict";
const at = (id) => document.getElementById(id);
let current = null; // the file that is shown
let asked = 0; // so that a late answer to an earlier question is not shown

async function ask() {
  if (!current) return;
  const question = ++asked;
  const body = new FormData();
  body.append("file", current);
  const query = new URLSearchParams();
  if (at("model").value) query.set("model", at("model").value);
  if (at("explain").checked) query.set("explain", "true");
  at("answer").classList.add("busy");
  let answer, failure = null;
  try {
    const response = await fetch(`/predict?${query}`, { method: "POST", body });
    answer = await response.json();
    if (!response.ok) failure = answer.detail || response.statusText;
  } catch {
    failure = "The server cannot be reached.";
  }
  if (question !== asked) return;
  at("answer").classList.remove("busy");
  at("error").hidden = failure === null;
  at("error").textContent = failure ?? "";
  at("answer").hidden = failure !== null;
  if (failure === null) show(answer);
}

function show({ probabilities, warning, model, latency_ms, explanation }) {
  const percent = (share) => `${(100 * share).toFixed(1)} %`;
  // All of them, since top_k may be limited to fewer than there are classes.
  const best = Object.entries(probabilities).sort(([, one], [, other]) => other - one).slice(0, 10);
  at("verdict").textContent = `${best[0][0]}, ${percent(best[0][1])}`;
  at("warning").hidden = !warning;
  at("warning").textContent = warning ?? "";
  at("bars").replaceChildren(...best.map(([label, score]) => {
    const row = document.createElement("li");
    const [name, track, bar, share] = ["span", "span", "div", "span"].map((tag) => document.createElement(tag));
    name.textContent = label;
    track.className = "track";
    bar.className = "bar";
    bar.style.width = `${100 * score}%`;
    share.className = "share";
    share.textContent = percent(score);
    track.append(bar);
    row.append(name, track, share);
    return row;
  }));
  at("heat").hidden = !explanation;
  if (explanation) {
    at("heat").querySelector("img").src = explanation.heat_map;
    at("heat-label").textContent = explanation.label;
  }
  at("meta").textContent = `${model.name}, version ${model.version}, answered in ${latency_ms.toFixed(1)} ms`;
}

function choose(file) {
  if (!file) return;
  current = file;
  URL.revokeObjectURL(at("picture").src);
  at("picture").src = URL.createObjectURL(file);
  at("picture").hidden = false;
  at("hint").hidden = true;
  ask();
}

async function describe() {
  at("origin").textContent = location.origin;
  const { models } = await (await fetch("/models")).json();
  at("labels").textContent = models[0].labels.join(", ").replace(/, ([^,]*)$/, " or $1");
  at("model").replaceChildren(...models.map(({ name, test_accuracy }) => {
    const option = new Option(`${name} (${(100 * test_accuracy).toFixed(1)} % right in its test)`, name);
    return option;
  }));
}

at("file").addEventListener("change", (event) => choose(event.target.files[0]));
at("model").addEventListener("change", ask);
at("explain").addEventListener("change", ask);
at("picture").addEventListener("error", () => { at("picture").hidden = true; at("hint").hidden = false; });
document.addEventListener("dragover", (event) => { event.preventDefault(); at("drop").classList.add("over"); });
document.addEventListener("dragleave", () => at("drop").classList.remove("over"));
document.addEventListener("drop", (event) => {
  event.preventDefault();
  at("drop").classList.remove("over");
  choose(event.dataTransfer.files[0]);
});
document.addEventListener("paste", (event) => choose(event.clipboardData.files[0]));
describe();
