// Starts Python, passes user input to it, and draws what `Show.snapshot()` in service.py returns. No logic is here.

import { loadPyodide } from "./pyodide/pyodide.mjs";

const $ = (id) => document.getElementById(id);
const chosen = (name) => document.querySelector(`input[name=${name}]:checked`).value;

const SAYS = {
  closed: () => "Every call goes through. The circuit counts failures.",
  open: (seen) => seen.wait > 0
    ? `Calls are refused at once, so the service can recover: ${seen.reason}.`
    : "The open period is over. The next call goes through as a trial.",
  half_open: () =>
    "A few calls go through as trials. Two successful trials close the circuit; one failed trial opens it again.",
};

start().then(run).catch(say);

async function start() {
  const timeout = new URLSearchParams(location.search).get("reset_timeout");
  const [python, kit, wrapt, source] = await Promise.all([
    loadPyodide({ env: timeout === null ? {} : { RESET_TIMEOUT: timeout } }),
    bytes("kit.whl"),
    bytes("wrapt.whl"),
    bytes("service.py"),
  ]);
  python.unpackArchive(kit, "wheel");
  python.unpackArchive(wrapt, "wheel");
  python.FS.writeFile("service.py", new Uint8Array(source));
  $("source").textContent = new TextDecoder().decode(source);
  return python.pyimport("service").show;
}

async function bytes(address) {
  const answer = await fetch(address);
  if (!answer.ok) throw new Error(`${address}: ${answer.status} ${answer.statusText}`);
  return answer.arrayBuffer();
}

function run(show) {
  listen(show);
  const draw = () => {
    picture(JSON.parse(show.snapshot()));
    requestAnimationFrame(draw);
  };
  draw();
}

function say(error) {
  document.body.dataset.state = "broken";
  const lines = String(error.message ?? error).trim().split("\n");
  $("says").textContent = `It did not start: ${lines.at(-1)}`;
  $("versions").textContent = "";
}

// Input

function listen(show) {
  const streaming = () => $("stream").getAttribute("aria-pressed") === "true";
  const stream = () => show.stream(streaming() ? Number($("rate").value) : 0, chosen("kind"));

  for (const input of document.querySelectorAll("input[name=service]")) {
    input.addEventListener("change", () => show.set_service(chosen("service")));
  }
  for (const input of document.querySelectorAll("input[name=kind]")) input.addEventListener("change", stream);
  $("rate").addEventListener("input", () => {
    $("per_second").textContent = $("rate").value;
    stream();
  });
  $("once").addEventListener("click", () => show.call_once(chosen("kind")));
  $("stream").addEventListener("click", () => {
    $("stream").setAttribute("aria-pressed", String(!streaming()));
    stream();
  });
  $("reset").addEventListener("click", () => show.reset());
  $("controls").addEventListener("submit", (event) => event.preventDefault());

  for (const set of document.querySelectorAll("fieldset")) set.disabled = false;
  $("versions").textContent = show.versions();
}

// Output

function picture(seen) {
  document.body.dataset.state = seen.state;
  document.body.dataset.waiting = String(seen.wait > 0);
  $("open").querySelector(".ring").style.strokeDashoffset = 1 - Math.min(1, seen.wait / seen.length);
  write($("wait"), seen.state !== "open" ? "" : seen.wait > 0 ? `${seen.wait.toFixed(1)} s` : "trial next");
  write($("says"), SAYS[seen.state](seen));
  write($("refusal"), seen.refusal || "No call has been refused yet.");
  $("refusal").classList.toggle("quiet", !seen.refusal);
  for (const cell of document.querySelectorAll("[data-total]")) write(cell, seen.totals[cell.dataset.total]);
  const [failures, threshold] = seen.failures;
  pips("closed", seen.state === "closed" ? Array(Math.min(failures, threshold)).fill("failure") : [], threshold);
  pips("half_open", ...seen.trials);
  if (differs("calls", seen.calls)) $("calls").replaceChildren(...seen.calls.map(dot));
  if (differs("changes", seen.changes)) changes(seen.changes);
}

function write(element, text) {
  if (element.textContent !== String(text)) element.textContent = text;
}

const drawn = {};

function differs(what, value) {
  const now = JSON.stringify(value);
  const before = drawn[what];
  drawn[what] = now;
  return now !== before;
}

function pips(state, full, many) {
  if (!differs(state, full)) return;
  const shown = full.slice(-many);
  const circles = Array.from({ length: many }, (_, place) => {
    const circle = document.createElementNS("http://www.w3.org/2000/svg", "circle");
    circle.setAttribute("class", `pip ${shown[place] ?? ""}`);
    circle.setAttribute("cx", (place - (many - 1) / 2) * 22);
    circle.setAttribute("r", 6.5);
    return circle;
  });
  $(state).querySelector(".pips").replaceChildren(...circles);
}

function dot(call) {
  const item = document.createElement("li");
  item.className = `dot ${call.outcome}${call.trial ? " trial" : ""}`;
  item.title = `${call.trial ? "Trial" : "Call"} ${call.number}, ${call.kind}: ${call.text}`;
  const words = document.createElement("span");
  words.textContent = item.title;
  item.append(words);
  return item;
}

function changes(all) {
  if (!all.length) return;
  const last = all.at(-1);
  for (const arrow of document.querySelectorAll(".arrow")) {
    arrow.classList.toggle("taken", arrow.dataset.change === `${last.old} ${last.new}`);
  }
  $("changes").replaceChildren(...all.toReversed().map((change) => {
    const item = document.createElement("li");
    const [time, state, reason] = ["time", "b", "span"].map((tag) => item.appendChild(document.createElement(tag)));
    time.textContent = change.at;
    state.textContent = change.new.replace("_", "-");
    state.className = change.new;
    reason.textContent = change.reason;
    return item;
  }));
}
