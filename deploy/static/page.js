"use strict";
const at = (id) => document.getElementById(id);
let current = null; // the chosen file
let latest = 0; // number of the last request; responses to earlier ones are ignored

async function predict() {
  if (!current) return;
  const request = ++latest;
  const body = new FormData();
  body.append("file", current);
  const query = new URLSearchParams();
  if (at("model").value) query.set("model", at("model").value);
  if (at("explain").checked) query.set("explain", "true");
  at("result").classList.add("busy");
  let result, error = null;
  try {
    const response = await fetch(`/predict?${query}`, { method: "POST", body });
    result = await response.json();
    if (!response.ok) error = result.detail || response.statusText;
  } catch {
    error = "Could not reach the server.";
  }
  if (request !== latest) return;
  at("result").classList.remove("busy");
  at("error").hidden = error === null;
  at("error").textContent = error ?? "";
  at("result").hidden = error !== null;
  if (error === null) show(result);
}

function show({ probabilities, warning, model, latency_ms, explanation }) {
  const percent = (score) => `${(100 * score).toFixed(1)} %`;
  // Not `predictions`: the server may limit top_k to fewer classes.
  const best = Object.entries(probabilities).sort(([, one], [, other]) => other - one).slice(0, 10);
  at("prediction").textContent = `${best[0][0]}, ${percent(best[0][1])}`;
  at("warning").hidden = !warning;
  at("warning").textContent = warning ?? "";
  at("bars").replaceChildren(...best.map(([label, score]) => {
    const row = document.createElement("li");
    const [name, track, bar, value] = ["span", "span", "div", "span"].map((tag) => document.createElement(tag));
    name.textContent = label;
    track.className = "track";
    bar.className = "bar";
    bar.style.width = `${100 * score}%`;
    value.className = "score";
    value.textContent = percent(score);
    track.append(bar);
    row.append(name, track, value);
    return row;
  }));
  at("heat").hidden = !explanation;
  if (explanation) {
    at("heat").querySelector("img").src = explanation.heat_map;
    at("heat-label").textContent = explanation.label;
  }
  at("meta").textContent = `${model.name}, version ${model.version}, ${latency_ms.toFixed(1)} ms`;
}

function choose(file) {
  if (!file) return;
  current = file;
  URL.revokeObjectURL(at("image").src);
  at("image").src = URL.createObjectURL(file);
  at("image").hidden = false;
  at("hint").hidden = true;
  predict();
}

async function describe() {
  at("origin").textContent = location.origin;
  const { models } = await (await fetch("/models")).json();
  at("labels").textContent = models[0].labels.join(", ").replace(/, ([^,]*)$/, " or $1");
  at("model").replaceChildren(...models.map(({ name, test_accuracy }) =>
    new Option(`${name} (test accuracy ${(100 * test_accuracy).toFixed(1)} %)`, name)));
}

at("file").addEventListener("change", (event) => choose(event.target.files[0]));
at("model").addEventListener("change", predict);
at("explain").addEventListener("change", predict);
at("image").addEventListener("error", () => { at("image").hidden = true; at("hint").hidden = false; });
document.addEventListener("dragover", (event) => { event.preventDefault(); at("drop").classList.add("over"); });
document.addEventListener("dragleave", () => at("drop").classList.remove("over"));
document.addEventListener("drop", (event) => {
  event.preventDefault();
  at("drop").classList.remove("over");
  choose(event.dataTransfer.files[0]);
});
document.addEventListener("paste", (event) => choose(event.clipboardData.files[0]));
describe();
