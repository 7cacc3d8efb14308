"use strict";

// Points are [x, y] in pixels of the photo, pixel centres at integers; null where there is none.
const state = { photos: [], faces: new Map(), names: ["point_1"], chosen: 0, source: 0,
                points: new Map(), fixed: new Map(), found: new Map() };
const COLORS = ["#ff4d4d", "#4da3ff", "#ffe14d", "#7ee05a", "#a678ff", "#ffa53b", "#3fd6c6", "#ff6fd0"];
const SVG = "http://www.w3.org/2000/svg";
const $ = (id) => document.getElementById(id);
let turn = 0;  // number of the latest request for points: answers of earlier ones are dropped

function say(text, wrong = false) {
  $("status").textContent = text;
  $("status").className = wrong ? "error" : "";
}

async function ask(path, body, type = "application/json") {
  const options = body === undefined ? {} : { method: "POST", headers: { "Content-Type": type }, body };
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    throw new Error("the server does not answer; is `dife serve` still running?");
  }
  if (answer.ok) return answer;
  const told = await answer.json().catch(() => ({}));
  throw new Error(told.error || `the server answered ${answer.status}`);
}

const json = async (path, body) => (await ask(path, body && JSON.stringify(body))).json();

function pointsOf(number) {
  if (!state.points.has(number)) {
    state.points.set(number, []);
    state.fixed.set(number, []);
  }
  const points = state.points.get(number);
  while (points.length < state.names.length) points.push(null);
  return points;
}

// A photo with its points; `place(point)` is called with a click, `move(k, point)` while a point is dragged.
function photo(number, { place, move, drop }) {
  const box = document.createElement("div");
  const picture = document.createElement("img");
  picture.src = `/api/photos/${number}/jpeg`;
  picture.alt = state.photos[number];
  picture.draggable = false;
  const layer = document.createElementNS(SVG, "svg");
  box.append(picture, layer);
  const face = state.faces.get(number);
  if (!face) return box;
  const [width, height] = face.size;
  layer.setAttribute("viewBox", `-0.5 -0.5 ${width} ${height}`);
  layer.setAttribute("preserveAspectRatio", "none");
  const [x0, y0, x1, y1] = face.box;
  const frame = document.createElementNS(SVG, "rect");
  for (const [key, value] of Object.entries({ x: x0, y: y0, width: x1 - x0, height: y1 - y0 })) {
    frame.setAttribute(key, value);
  }
  layer.append(frame);
  const at = (event) => {
    const rect = layer.getBoundingClientRect();
    return [(event.clientX - rect.left) / rect.width * width - 0.5, (event.clientY - rect.top) / rect.height * height - 0.5];
  };
  const found = state.found.get(number);
  pointsOf(number).forEach((point, k) => {
    if (!point) return;
    const circle = document.createElementNS(SVG, "circle");
    circle.setAttribute("cx", point[0]);
    circle.setAttribute("cy", point[1]);
    circle.setAttribute("r", Math.max(width, height) / (place ? 90 : 40));
    circle.setAttribute("fill", COLORS[k % COLORS.length]);
    const fixed = (state.fixed.get(number) || [])[k];
    if (fixed) circle.classList.add("fixed");
    else if (found && found.matched && !found.matched[k]) circle.classList.add("unmatched");
    const title = document.createElementNS(SVG, "title");
    const sure = found && found.confidence && !fixed ? `, confidence ${found.confidence[k]}, cycle error ${found.cycle_error[k]}` : "";
    title.textContent = `${state.names[k]}: ${point.map((value) => value.toFixed(1)).join(", ")}${sure}`;
    circle.dataset.landmark = k;
    circle.append(title);
    circle.addEventListener("pointerdown", (event) => {
      event.stopPropagation();
      circle.setPointerCapture(event.pointerId);
      const drag = (moved) => {
        const [x, y] = at(moved);
        const inside = [Math.min(Math.max(x, -0.5), width - 0.5), Math.min(Math.max(y, -0.5), height - 0.5)];
        circle.setAttribute("cx", inside[0]);
        circle.setAttribute("cy", inside[1]);
        move(k, inside);
      };
      circle.addEventListener("pointermove", drag);
      circle.addEventListener("pointerup", () => {
        circle.removeEventListener("pointermove", drag);
        drop(k);
      }, { once: true });
    });
    layer.append(circle);
  });
  if (place) layer.addEventListener("pointerdown", (event) => place(at(event)));
  return box;
}

function drawSource() {
  const number = state.source;
  $("source-name").textContent = state.photos[number] ?? "";
  const shown = photo(number, {
    place: (point) => { set(number, state.chosen, point); drawSource(); carry(); },
    move: (k, point) => set(number, k, point),
    drop: () => { drawSource(); carry(); },
  });
  $("source-photo").replaceChildren(...shown.childNodes);
}

function set(number, k, point) {
  pointsOf(number)[k] = point;
  state.fixed.get(number)[k] = true;
}

function drawTarget(number) {
  const card = document.createElement("div");
  card.className = "card";
  card.dataset.photo = number;
  const view = photo(number, { move: (k, point) => set(number, k, point), drop: () => { redraw(number); if ($("vote").checked) carry(); } });
  view.className = "photo";
  const use = document.createElement("button");
  use.type = "button";
  use.textContent = state.photos[number];
  use.title = "use as the source";
  use.addEventListener("click", () => { state.source = number; draw(); });
  const right = document.createElement("label");
  const tick = Object.assign(document.createElement("input"), { type: "checkbox", checked: isRight(number) });
  tick.addEventListener("change", () => {
    state.fixed.set(number, state.names.map((_, k) => tick.checked && Boolean(pointsOf(number)[k])));
    redraw(number);
  });
  right.append(tick, " right");
  card.append(view, use, right);
  const wrong = state.found.get(number)?.error;
  if (wrong) {
    const note = document.createElement("p");
    note.className = "note";
    note.textContent = wrong;
    card.append(note);
  }
  return card;
}

// Whether all points of a photo were set or confirmed by hand: such photos are labels.
function isRight(number) {
  const points = pointsOf(number), fixed = state.fixed.get(number);
  return points.some(Boolean) && points.every((point, k) => !point || fixed[k]);
}

const redraw = (number) => document.querySelector(`[data-photo="${number}"]`)?.replaceWith(drawTarget(number));

function drawNames() {
  $("names").replaceChildren(...state.names.map((name, k) => {
    const row = document.createElement("li");
    const chosen = Object.assign(document.createElement("input"), { type: "radio", name: "chosen", checked: k === state.chosen });
    chosen.setAttribute("aria-label", `select ${name}`);
    chosen.addEventListener("change", () => { state.chosen = k; });
    const swatch = document.createElement("span");
    swatch.className = "swatch";
    swatch.style.background = COLORS[k % COLORS.length];
    const text = Object.assign(document.createElement("input"), { type: "text", value: name, maxLength: 40 });
    text.setAttribute("aria-label", "name of the landmark");
    text.addEventListener("change", () => {
      const wanted = text.value.trim().replace(/[^\p{L}\p{N}_-]+/gu, "_");
      if (wanted && !state.names.includes(wanted)) state.names[k] = wanted;
      text.value = state.names[k];
    });
    row.append(chosen, swatch, text);
    return row;
  }));
}

function draw() {
  drawNames();
  drawSource();
  $("targets").replaceChildren(...[...state.photos.keys()].filter((n) => n !== state.source).map(drawTarget));
}

// Find the points of the source, and of photos that were corrected, on all other photos.
async function carry() {
  const sources = { [state.source]: pointsOf(state.source) };
  if ($("vote").checked) {
    for (const [number, fixed] of state.fixed) {
      if (number !== state.source && fixed.some(Boolean)) sources[number] = pointsOf(number).map((p, k) => (fixed[k] ? p : null));
    }
  }
  if (!sources[state.source].some(Boolean)) return;
  const mine = ++turn;
  const targets = [...state.photos.keys()].filter((number) => number !== state.source);
  say(`finding ${state.names.length} landmarks on ${targets.length} photos ...`);
  try {
    const parts = [];
    for (let start = 0; start < targets.length; start += 32) parts.push(targets.slice(start, start + 32));
    for (const part of parts) {
      const { found } = await json("/api/carry", { sources, names: state.names, targets: part });
      if (mine !== turn) return;
      for (const number of part) {
        const one = found[number];
        state.found.set(number, one);
        if (!one.points) continue;
        if (!state.faces.has(number)) state.faces.set(number, await json(`/api/photos/${number}`));
        const points = pointsOf(number);
        one.points.forEach((point, k) => {
          if (!state.fixed.get(number)[k]) points[k] = point && point[0] !== null ? point : null;
        });
      }
      part.forEach(redraw);
    }
    say("done; drag a point that is wrong");
  } catch (error) {
    say(error.message, true);
  }
}

async function save(form) {
  const faces = {};
  for (const number of state.photos.keys()) if (pointsOf(number).some(Boolean)) faces[number] = pointsOf(number);
  const right = [...state.photos.keys()].filter(isRight);
  try {
    const answer = await ask(`/api/file/${form}`, JSON.stringify({ names: state.names, faces, right }));
    const link = document.createElement("a");
    link.href = URL.createObjectURL(await answer.blob());
    link.download = form === "csv" ? "landmarks.csv" : "landmarks.json";
    link.click();
    URL.revokeObjectURL(link.href);
  } catch (error) {
    say(error.message, true);
  }
}

async function train() {
  const faces = {};
  for (const number of state.photos.keys()) if (isRight(number)) faces[number] = pointsOf(number);
  try {
    follow(await json("/api/training", { names: state.names, faces }));
  } catch (error) {
    say(error.message, true);
  }
}

// Show how far a training is; at its end, take the landmarks that the model found.
async function follow(status) {
  $("stop").hidden = status.state !== "running";
  if (status.state === "running") {
    say(`training, step ${status.step}: ${status.said}`);
    setTimeout(async () => {
      try {
        follow(await json("/api/training"));
      } catch (error) {
        say(error.message, true);
      }
    }, 1500);
  } else if (status.state === "failed") {
    say(`the training ended: ${status.said}`, true);
  } else if (status.state === "done") {
    const { found } = await json("/api/training/points");
    for (const [key, places] of Object.entries(found)) {
      const number = Number(key), points = pointsOf(number);
      places.forEach((point, k) => { if (!state.fixed.get(number)[k]) points[k] = point; });
      state.found.set(number, {});
    }
    draw();
    say(`landmarks of the trained model, ${status.run}`);
  }
}

async function add(files) {
  for (const file of files) {
    try {
      const { number } = await (await ask(`/api/photos?name=${encodeURIComponent(file.name)}`, file, "application/octet-stream")).json();
      state.photos[number] = file.name;
      state.faces.set(number, await json(`/api/photos/${number}`));
    } catch (error) {
      say(`${file.name}: ${error.message}`, true);
    }
  }
  draw();
  carry();
}

async function start() {
  const { photos, model } = await json("/api/photos");
  state.photos = photos;
  draw();
  for (const number of photos.keys()) {
    try {
      state.faces.set(number, await json(`/api/photos/${number}`));
    } catch (error) {
      state.found.set(number, { error: error.message });
    }
    if (number === state.source) drawSource();
    else redraw(number);
  }
  say(`${photos.length} photos, model ${model}`);
}

$("add").addEventListener("change", (event) => add(event.target.files));
$("csv").addEventListener("click", () => save("csv"));
$("coco").addEventListener("click", () => save("coco"));
$("train").addEventListener("click", train);
$("stop").addEventListener("click", () => json("/api/training/stop", {}).then(follow, (error) => say(error.message, true)));
$("more").addEventListener("click", () => {
  let k = state.names.length + 1;
  while (state.names.includes(`point_${k}`)) k += 1;
  state.names.push(`point_${k}`);
  state.chosen = state.names.length - 1;
  drawNames();
});
document.addEventListener("dragover", (event) => event.preventDefault());
document.addEventListener("drop", (event) => { event.preventDefault(); add(event.dataTransfer.files); });
start().catch((error) => say(error.message, true));
