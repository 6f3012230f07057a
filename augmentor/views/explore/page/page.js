"use strict";
// The page stores the settings, requests their view from the server, and draws it.

const $ = (selector) => document.querySelector(selector);
const FIELDS = ["data", "split", "size", "pick", "images", "autoencoder", "residual", "copies", "seed", "keep", "redraw"];
const QUESTIONS = ["fidelity", "agreement", "novelty", "realism", "recognition"];
const VERDICTS = ["passed", ...QUESTIONS, "original kept"];

let settings = {};   // selected settings
let values = {};     // sliders of the policy that were moved since its text was last updated
let view = null;     // displayed view
let take = "code";
let asking = false, changed = false;

function element(tag, properties, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

function picture(address, alt) {
  const [, height, width] = view.shape;
  return element("img", { src: address, alt, className: Math.max(height, width) > 96 ? "smooth" : "" });
}

// The first failed check determines the colour.
const kind = (verdict) => (verdict === "original kept" ? "kept" : verdict.split(",")[0]);
const brief = (verdict) => verdict.replace(/, .*/, (rest) => ` +${rest.split(",").length - 1}`);
const percent = (share) => `${(100 * share).toFixed(share < 0.1 ? 1 : 0)} %`;

// --- requests ---------------------------------------------------------------------------------------------------

async function refresh() {
  changed = true;
  if (asking) return;  // after the current response, one more request is sent with the newest settings
  asking = true;
  while (changed) {
    changed = false;
    document.body.dataset.state = "busy";
    $("#status").textContent = "working";
    await ask();
  }
  asking = false;
  document.body.dataset.answers = Number(document.body.dataset.answers ?? 0) + 1;
}

async function ask() {
  try {
    const began = performance.now();
    const answer = await fetch("view", {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ settings, values }),
    });
    const said = await answer.json().catch(() => ({ error: `the server returned status ${answer.status}; see its terminal` }));
    if (said.error) return fail(said.error);
    $("#error").hidden = true;
    $("#status").textContent = `${((performance.now() - began) / 1000).toFixed(1)} s`;
    document.body.dataset.state = "ready";
    if (changed) return;  // newer settings will be sent: do not reset the slider that is being moved
    view = said;
    settings = said.settings;
    values = {};
    write();
    draw();
  } catch {
    fail("the server does not respond; start augmentor explore again and reload this page");
  }
}

function fail(line) {  // keeps the previous view and all input
  $("#error").textContent = line;
  $("#error").hidden = false;
  $("#status").textContent = "";
  document.body.dataset.state = "error";
}

// --- settings ---------------------------------------------------------------------------------------------------

function read(field) {
  const input = $(`#${field}`);
  if (input.type === "checkbox") return input.checked;
  if (input.type === "number" || input.type === "range") return input.value === "" ? null : Number(input.value);
  return input.value.trim();
}

function write() {
  for (const field of FIELDS) {
    const input = $(`#${field}`);
    if (input.type === "checkbox") input.checked = settings[field];
    else if (input !== document.activeElement || input.type === "range") input.value = settings[field] ?? "";
    showValue(input);
  }
  if (document.activeElement !== $("#policy")) $("#policy").value = settings.policy;
  $("#known-policies").value = settings.policy.match(/^[\w-]+/)[0];
  if (view) writeControls();
}

function showValue(input) {
  const output = input.closest(".slider")?.querySelector("output");
  if (output) output.textContent = input.step.includes(".") ? Number(input.value).toFixed(2) : input.value;
}

function writeControls() {
  const box = $("#controls"), paths = view.controls.map((control) => control.path).join();
  if (box.dataset.paths !== paths) {
    box.dataset.paths = paths;
    const several = new Set(view.controls.map((control) => control.path.split(".").slice(0, -1).join("."))).size > 1;
    let owner = null;
    box.replaceChildren();
    for (const control of view.controls) {
      const home = control.path.split(".").slice(0, -1).join(".");
      if (several && home !== owner) box.append(element("b", {}, control.policy));
      owner = home;
      box.append(controlOf(control));
    }
  }
  for (const control of view.controls) {
    const input = document.getElementById(control.path);
    if (control.kind === "bool") input.checked = control.value;
    else Object.assign(input, { min: control.low, max: control.high }).value = control.value;
    showValue(input);
  }
}

function controlOf({ path, name, kind: type, low, high, value }) {
  const input = type === "bool"
    ? element("input", { id: path, type: "checkbox", checked: value })
    : element("input", { id: path, type: "range", min: low, max: high, step: type === "int" ? "1" : "0.05", value });
  input.addEventListener("input", () => {
    values[path] = type === "bool" ? input.checked : Number(input.value);
    showValue(input);
    refresh();
  });
  return type === "bool"
    ? element("label", { className: "line" }, element("span", {}, name.replaceAll("_", " ")), input)
    : element("label", { className: "slider" }, element("span", {}, name), element("output"), input);
}

function policyIs(text) {
  settings.policy = text;
  values = {};
  refresh();
}

// --- view -------------------------------------------------------------------------------------------------------

function draw() {
  const [channels, height, width] = view.shape;
  const selected = view.selected < view.total ? `, ${view.selected} of them used` : "";
  $("#what").textContent =
    `${view.total} images of ${width} × ${height}, ${channels === 1 ? "grey" : "RGB"}${selected} · autoencoder ${view.autoencoder}, ${view.verdict}`;
  $("#notes").hidden = view.notes.length === 0;
  $("#notes").textContent = view.notes.join(" ");
  drawSummary();
  drawGrid();
  drawClosely();
  drawTraversal();
  drawTaken();
}

function drawSummary() {
  const said = view.samples.flat().map((sample) => kind(sample.verdict));
  const { samples, passed, drawn } = view.counts;
  const failed = QUESTIONS.filter((name) => view.counts[name]);
  $("#summary").textContent = `${passed} of ${samples} samples passed the gate` +
    (drawn > samples ? ` (${drawn} drawn)` : "") +
    (failed.length ? `; failed checks: ${failed.map((name) => `${view.counts[name]} ${name}`).join(", ")}.` : ".");
  $("#bar").replaceChildren(...VERDICTS.map(kind).filter((name) => said.includes(name)).map((name) => {
    const part = element("i", { className: name });
    part.style.flexGrow = said.filter((one) => one === name).length;
    return part;
  }));
}

function drawGrid() {
  const grid = $("#grid"), name = (text) => element("div", { className: "name" }, text);
  grid.style.gridTemplateColumns = `max-content repeat(${view.originals.length}, minmax(34px, 110px))`;
  const row = (title, key) => [name(title), ...view.originals.map((one) =>
    element("figure", {}, picture(one[key], `${title} ${one.row}`)))];
  grid.replaceChildren(
    name(""),
    ...view.originals.map((one) => element("div", { className: "head", title: one.label }, one.label, element("small", {}, `#${one.row}`))),
    ...row("original", "image"),
    ...row("reconstruction", "rebuilt"),
    element("div", { className: "rule" }),
    ...view.samples.flatMap((samples, copy) => [
      name(`sample ${copy + 1}`), ...samples.map((sample, original) => cell(sample, original, copy)),
    ]),
  );
}

function cell(sample, original, copy) {
  const own = view.originals[original].label;
  const button = element("button", {
    type: "button", className: `sample ${kind(sample.verdict)}`, title: `${sample.verdict}; label ${sample.label}`,
    onclick: () => { Object.assign(settings, { original, copy }); refresh(); },
  }, element("figure", {},
    picture(sample.image, `sample ${copy + 1} of ${view.originals[original].row}: ${sample.verdict}`),
    element("figcaption", {}, sample.label === own ? brief(sample.verdict) : `${brief(sample.verdict)} · ${sample.label}`)));
  button.setAttribute("aria-pressed", original === view.settings.original && copy === view.settings.copy);
  return button;
}

function drawClosely() {
  const { original, copy } = view.settings, own = view.originals[original], sample = view.samples[copy][original];
  const captioned = (address, alt, ...lines) =>
    element("figure", {}, picture(address, alt), element("figcaption", {}, ...lines.flatMap((line) => [line, element("br")])));
  $("#sample").replaceChildren(
    captioned(own.image, "its original", "original", `${own.label} · #${own.row}`),
    captioned(sample.image, "the sample", `sample ${copy + 1}`, `label ${sample.label}`),
    element("div", { className: kind(sample.verdict) },
      element("div", { className: "tag" }, { passed: "Passed the gate", "original kept": "Rejected: the original is kept" }[sample.verdict] ?? `Failed: ${sample.verdict}`),
      ...Object.entries(sample.scores).map(([question, score]) => {
        const full = element("i");
        full.style.width = `${100 * score}%`;
        return element("div", { className: `score ${score < view.limit ? question : "passed"}` },
          element("span", {}, question), element("div", { className: "track" }, full), element("span", {}, percent(score)));
      }),
      element("p", { className: "hint" }, `Fraction of held-out real images with the same or a worse score; a sample below ${percent(view.limit)} fails.`)),
  );
  $("#near").replaceChildren(...view.near.map((one) => {
    const figure = captioned(one.image, `real image ${one.row}`, one.label, `#${one.row}`, one.row === own.row ? "its original" : one.distance.toFixed(2));
    figure.className = one.row === own.row ? "own" : "";
    return figure;
  }));
}

function drawTraversal() {
  $("#traversal").replaceChildren(...view.traversal.flatMap(({ dimension, images }) => [
    element("div", { className: "name" }, `z${dimension}`),
    ...images.map((image, step) => element("figure", { className: step === (images.length - 1) / 2 ? "middle" : "" },
      picture(image, `dimension ${dimension}, step ${step + 1}`))),
  ]));
}

function drawTaken() {
  $("#taken").textContent = view.take[take];
  for (const tab of document.querySelectorAll("[role=tab]")) tab.setAttribute("aria-selected", tab.dataset.take === take);
  $("#copy").textContent = "Copy";
}

async function copy() {
  try {
    await navigator.clipboard.writeText(view.take[take]);
    $("#copy").textContent = "Copied";
  } catch {  // browsers allow clipboard access only for pages of this machine
    getSelection().selectAllChildren($("#taken"));
    $("#copy").textContent = "Selected: press Ctrl+C";
  }
}

// --- start ------------------------------------------------------------------------------------------------------

async function start() {
  const known = await (await fetch("start")).json();
  $("#known-autoencoders").replaceChildren(...known.autoencoders.map((value) => element("option", { value })));
  $("#known-policies").replaceChildren(...Object.keys(known.policies).map((name) => element("option", {}, name)));
  settings = known.settings;
  write();
  for (const field of FIELDS) {
    const input = $(`#${field}`);
    input.addEventListener(input.type === "range" ? "input" : "change", () => {
      settings[field] = read(field);
      showValue(input);
      refresh();
    });
  }
  $("#policy").addEventListener("change", () => policyIs($("#policy").value.trim()));
  $("#policy").addEventListener("keydown", (event) => {
    if (event.key === "Enter") { event.preventDefault(); event.target.blur(); }
  });
  $("#known-policies").addEventListener("change", (event) => {
    $("#policy").value = known.policies[event.target.value];
    policyIs($("#policy").value);
  });
  $("#next").addEventListener("click", () => { settings.seed += 1; $("#seed").value = settings.seed; refresh(); });
  $("#copy").addEventListener("click", copy);
  for (const tab of document.querySelectorAll("[role=tab]"))
    tab.addEventListener("click", () => { take = tab.dataset.take; drawTaken(); });
  refresh();
}

start();
