"use strict";

// Points are [x, y] in pixels of the photo, pixel centres at integers; null where there is none. A point that is fixed was
// placed or confirmed by hand; fixed and null means not visible. Lists of points are in the order of the names.
const state = { photos: [], faces: new Map(), names: ["point_1"], chosen: 0, source: 0,
                points: new Map(), fixed: new Map(), found: new Map(), views: new Map(), pending: new Set() };
const MOST = { names: 60, votes: 200 };
const COLORS = ["#ff4d4d", "#4da3ff", "#ffe14d", "#7ee05a", "#a678ff", "#ffa53b", "#3fd6c6", "#ff6fd0"];
const SVG = "http://www.w3.org/2000/svg";
const $ = (id) => document.getElementById(id);
let shown = null;  // the view of the source
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

function element(name, values = {}, data = {}) {
  const made = Object.assign(document.createElement(name), values);
  Object.assign(made.dataset, data);
  return made;
}

function shape(name, values) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(values)) made.setAttribute(key, value);
  return made;
}

// A photo with its points. The picture stays; draw() draws the frame of the face and the points anew.
function photo(number, isSource) {
  const node = element("div", { className: "photo" });
  const picture = element("img", { loading: "lazy", alt: state.photos[number], draggable: false });
  picture.src = `/api/photos/${number}/jpeg`;
  const layer = shape("svg", { preserveAspectRatio: "none" });
  const hide = element("button", { type: "button", className: "hide", textContent: "not visible" });
  hide.addEventListener("click", () => setHidden(number, state.chosen, !isHidden(number, state.chosen)));
  node.append(picture, layer);
  const size = () => state.faces.get(number).size;
  const inside = (point) => point.map((value, axis) => Math.min(Math.max(value, -0.5), size()[axis] - 0.5));
  const at = (event) => {
    const rect = layer.getBoundingClientRect(), [width, height] = size();
    const x = (event.clientX - rect.left) / rect.width, y = (event.clientY - rect.top) / rect.height;
    return inside([x * width - 0.5, y * height - 0.5]);
  };
  // Call moved(point) while the pointer is down, and then done(whether it was moved).
  const follow = (event, moved, done) => {
    event.preventDefault();
    layer.setPointerCapture(event.pointerId);
    let far = false;
    const move = (now) => {
      far = far || Math.hypot(now.clientX - event.clientX, now.clientY - event.clientY) > 2;
      if (far) moved(at(now));
    };
    layer.addEventListener("pointermove", move);
    layer.addEventListener("lostpointercapture", () => {
      layer.removeEventListener("pointermove", move);
      done(far);
    }, { once: true });
  };
  layer.addEventListener("pointerdown", (event) => {
    if (!state.faces.has(number) || event.button !== 0) return;
    const circle = event.target.closest("circle");
    if (event.shiftKey) {
      const start = at(event), frame = layer.appendChild(shape("rect", { class: "draft" }));
      let box = null;
      follow(event, (end) => {
        box = [0, 1].map((axis) => Math.min(start[axis], end[axis])).concat([0, 1].map((axis) => Math.max(start[axis], end[axis])));
        place(frame, box);
      }, (far) => setBox(number, far && box[2] > box[0] && box[3] > box[1] ? box : null));
    } else if (circle) {
      const k = Number(circle.dataset.landmark);
      choose(k);
      circle.focus();
      follow(event, (point) => {
        circle.setAttribute("cx", point[0]);
        circle.setAttribute("cy", point[1]);
        set(number, k, point);
      }, (far) => { if (far) changed(number, k); });
    } else if (isSource) {
      set(number, state.chosen, at(event));
      changed(number, state.chosen);
    }
  });
  layer.addEventListener("keydown", (event) => {
    const k = Number(event.target.dataset.landmark), point = pointsOf(number)[k];
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (!point) return;
    if (step) {
      set(number, k, inside([point[0] + step[0], point[1] + step[1]]));
      changed(number, k);
    } else if (event.key === "Delete" || event.key === "Backspace") {
      choose(k);
      setHidden(number, k, true);
      hide.focus();
    } else return;
    event.preventDefault();
  });

  function draw() {
    const name = state.names[state.chosen];
    hide.title = `${name} is not visible on this photo`;
    hide.setAttribute("aria-label", `${name} is not visible on ${state.photos[number]}`);
    hide.setAttribute("aria-pressed", isHidden(number, state.chosen));
    const face = state.faces.get(number);
    if (!face) return;
    const [width, height] = face.size;
    layer.setAttribute("viewBox", `-0.5 -0.5 ${width} ${height}`);
    layer.querySelectorAll("rect").forEach((one) => one.remove());
    if (face.box) {
      layer.prepend(shape("rect", {}));
      place(layer.firstChild, face.box);
    }
    const found = state.found.get(number) ?? {}, points = pointsOf(number);
    // circles stay where they can: one may have the focus, or be dragged
    layer.querySelectorAll("circle").forEach((one) => { if (!points[one.dataset.landmark]) one.remove(); });
    points.forEach((point, k) => {
      if (!point) return;
      let circle = layer.querySelector(`[data-landmark="${k}"]`);
      if (!circle) {
        circle = layer.appendChild(shape("circle", { tabindex: 0, role: "button", "data-landmark": k }));
        circle.append(shape("title", {}));
      }
      const fixed = Boolean(state.fixed.get(number)[k]), sure = isMatched(number, k);
      const values = { cx: point[0], cy: point[1], r: Math.max(width, height) / (isSource ? 90 : 40), fill: COLORS[k % COLORS.length] };
      for (const [key, value] of Object.entries(values)) circle.setAttribute(key, value);
      circle.classList.toggle("fixed", fixed);
      circle.classList.toggle("unmatched", !sure);
      const known = !fixed && found.confidence?.[k] != null;
      const likeness = known ? `, confidence ${found.confidence[k]}, cycle error ${found.cycle_error[k]}` : "";
      const told = `${state.names[k]}: ${point.map((value) => value.toFixed(1)).join(", ")}${likeness}${sure ? "" : ", no match"}`;
      circle.firstChild.textContent = told;
      circle.setAttribute("aria-label", told);
    });
  }
  return { node, hide, draw };
}

function place(frame, [x0, y0, x1, y1]) {
  for (const [key, value] of Object.entries({ x: x0, y: y0, width: x1 - x0, height: y1 - y0 })) frame.setAttribute(key, value);
}

function set(number, k, point) {
  pointsOf(number)[k] = point;
  state.fixed.get(number)[k] = true;
}

// Draw a photo on which a landmark was changed by hand, and find that landmark on the others if this can change them.
function changed(number, k) {
  redraw(number);
  if (number === state.source || $("vote").checked) carry([k]);
}

const isHidden = (number, k) => !pointsOf(number)[k] && Boolean(state.fixed.get(number)[k]);

// Whether a point was placed or confirmed by hand, or found with a match.
const isMatched = (number, k) => Boolean(state.fixed.get(number)[k]) || state.found.get(number)?.matched?.[k] !== false;

function setHidden(number, k, hidden) {
  set(number, k, null);
  state.fixed.get(number)[k] = hidden;
  redraw(number);
  carry([k]);
}

// Say where the face of a photo is; with null it is looked for again.
async function setBox(number, box) {
  try {
    state.faces.set(number, await json(`/api/photos/${number}/box`, { box }));
    state.found.set(number, {});
    redraw(number);
    await carry();
  } catch (error) {
    redraw(number);
    say(error.message, true);
  }
}

function choose(k) {
  if (state.chosen === k) return;
  state.chosen = k;
  document.querySelectorAll("#names input[type=radio]").forEach((radio, row) => { radio.checked = row === k; });
  state.views.forEach((view) => view.draw());
  shown?.draw();
}

function drawSource() {
  const number = state.source;
  if (shown?.number !== number) {
    shown = { number, ...photo(number, true) };
    $("source-name").textContent = state.photos[number] ?? "";
    $("source-photo").replaceChildren(shown.node, shown.hide);
  }
  shown.draw();
}

// The card of a photo that is not the source; it is made once.
function card(number) {
  if (!state.views.has(number)) {
    const view = photo(number, false);
    const node = element("div", { className: "card" }, { photo: number });
    const use = element("button", { type: "button", textContent: state.photos[number], title: "use as the source" });
    use.addEventListener("click", () => { state.source = number; draw(); });
    const right = element("label"), tick = element("input", { type: "checkbox" });
    tick.setAttribute("aria-label", `the points of ${state.photos[number]} are right`);
    tick.addEventListener("change", () => {
      const points = pointsOf(number), fixed = state.fixed.get(number);
      state.fixed.set(number, points.map((point, k) => tick.checked && Boolean(point || fixed[k])));
      redraw(number);
    });
    right.append(tick, " right");
    const note = element("p", { className: "note", hidden: true });
    node.append(view.node, use, right, view.hide, note);
    state.views.set(number, { node, draw: () => {
      view.draw();
      tick.checked = isRight(number);
      note.textContent = state.found.get(number)?.error ?? state.faces.get(number)?.error ?? "";
      note.hidden = !note.textContent;
    } });
  }
  const made = state.views.get(number);
  made.draw();
  return made.node;
}

// Whether all points of a photo were set or confirmed by hand: such photos are labels.
function isRight(number) {
  const points = pointsOf(number), fixed = state.fixed.get(number);
  return points.some(Boolean) && points.every((point, k) => !point || fixed[k]);
}

function redraw(number) {
  if (number === state.source) drawSource();
  else card(number);
}

function drawNames() {
  $("more").disabled = state.names.length >= MOST.names;
  $("names").replaceChildren(...state.names.map((_, k) => {
    const row = element("li");
    const chosen = element("input", { type: "radio", name: "chosen", checked: k === state.chosen });
    chosen.addEventListener("change", () => choose(k));
    const swatch = element("span", { className: "swatch" });
    swatch.style.background = COLORS[k % COLORS.length];
    const text = element("input", { type: "text", maxLength: 40 });
    text.setAttribute("aria-label", "name of the landmark");
    const remove = element("button", { type: "button", className: "remove", textContent: "\u00d7", disabled: state.names.length < 2 });
    const label = () => {
      chosen.setAttribute("aria-label", `select ${state.names[k]}`);
      remove.setAttribute("aria-label", remove.title = `delete ${state.names[k]}`);
      text.value = state.names[k];
    };
    text.addEventListener("change", () => {
      const wanted = text.value.trim().replace(/[^\p{L}\p{N}_-]+/gu, "_");
      if (wanted !== state.names[k] && state.names.includes(wanted)) say(`another landmark is called ${wanted}`, true);
      else if (wanted) state.names[k] = wanted;
      label();
      [...state.photos.keys()].forEach(redraw);
    });
    remove.addEventListener("click", () => { forget(k); $("names").querySelector("input:checked").focus(); });
    label();
    row.append(chosen, swatch, text, remove);
    return row;
  }));
}

// Delete a landmark on all photos.
function forget(k) {
  turn += 1;
  state.names.splice(k, 1);
  for (const lists of [state.points, state.fixed]) lists.forEach((list) => list.splice(k, 1));
  state.found.forEach((one) => ["matched", "confidence", "cycle_error"].forEach((key) => one[key]?.splice(k, 1)));
  state.pending = new Set([...state.pending].filter((j) => j !== k).map((j) => (j > k ? j - 1 : j)));
  if (state.chosen > k || state.chosen === state.names.length) state.chosen -= 1;
  draw();
  if (state.pending.size) carry([]);
}

function draw() {
  drawNames();
  drawSource();
  const others = [...state.photos.keys()].filter((number) => number !== state.source);
  $("targets").replaceChildren(...others.map(card));
}

const rounded = (point) => point && point.map((value) => Math.round(value * 100) / 100);

// Points of landmarks ks that are looked for on other photos: those of the source, and of photos that were corrected.
function votes(ks) {
  const sources = {};
  const add = (number, counts) => {
    const points = ks.map((k) => (counts(k) ? rounded(pointsOf(number)[k]) : null));
    if (points.some(Boolean)) sources[number] = points;
  };
  add(state.source, () => true);
  if ($("vote").checked) {
    for (const [number, fixed] of state.fixed) {
      if (number !== state.source && Object.keys(sources).length < MOST.votes) add(number, (k) => fixed[k]);
    }
  }
  return sources;
}

// Find landmarks on all photos but the source; those that an earlier request was to find are found as well.
async function carry(wanted = state.names.keys()) {
  for (const k of wanted) state.pending.add(k);
  const mine = ++turn;
  const targets = [...state.photos.keys()].filter((number) => number !== state.source);
  const given = Object.values(votes([...state.pending]));
  const ks = [...state.pending].filter((_, row) => given.some((points) => points[row]));
  for (const k of state.pending) if (!ks.includes(k)) targets.forEach((number) => take(number, [k], { points: [null] }));
  state.pending = new Set(ks);
  targets.forEach(redraw);
  if (!ks.length) return;
  const sources = votes(ks), names = ks.map((k) => state.names[k]);
  say(`finding ${names.join(", ")} on ${targets.length} photos ...`);
  try {
    let outside = [];
    for (let start = 0, end = 32; start < targets.length; start = end, end += 256) {
      const part = targets.slice(start, end);
      const answer = await json("/api/carry", { sources, names, targets: part });
      if (mine !== turn) return;
      for (const number of part) {
        if (!state.faces.has(number)) state.faces.set(number, await json(`/api/photos/${number}`).catch(() => undefined));
        if (!state.faces.get(number)) state.faces.delete(number);
        if (mine !== turn) return;
        take(number, ks, answer.found[number]);
        redraw(number);
      }
      outside = answer.outside;
    }
    state.pending.clear();
    if (outside.length) say(`${outside.join(", ")}: not looked for, outside of the frame of the face; draw a larger frame`, true);
    else say("done; drag a point that is wrong");
  } catch (error) {
    state.pending.clear();
    say(error.message, true);
  }
}

// Take what was found of landmarks ks on a photo, but for points that were placed by hand.
function take(number, ks, one) {
  const found = { confidence: [], cycle_error: [], matched: [], ...state.found.get(number), error: one.error };
  const points = pointsOf(number);
  ks.forEach((k, row) => {
    for (const key of ["confidence", "cycle_error", "matched"]) found[key][k] = one[key]?.[row];
    if (!state.fixed.get(number)[k]) points[k] = one.points?.[row]?.[0] != null ? one.points[row] : null;
  });
  state.found.set(number, found);
}

async function save(form) {
  const faces = {}, matched = {};
  for (const number of state.photos.keys()) {
    if (!pointsOf(number).some(Boolean)) continue;
    faces[number] = pointsOf(number).map(rounded);
    matched[number] = state.names.map((_, k) => isMatched(number, k));
  }
  const right = [...state.photos.keys()].filter(isRight);
  try {
    const answer = await ask(`/api/file/${form}`, JSON.stringify({ names: state.names, faces, right, matched }));
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
  for (const number of state.photos.keys()) if (isRight(number)) faces[number] = pointsOf(number).map(rounded);
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
  const told = [];
  for (const file of files) {
    try {
      const path = `/api/photos?name=${encodeURIComponent(file.name)}`;
      const { number, name } = await (await ask(path, file, "application/octet-stream")).json();
      state.photos[number] = name;
      if (name !== file.name) told.push(`${file.name} is called ${name} here and in downloaded files, since that name is taken`);
      state.faces.set(number, await json(`/api/photos/${number}`));
    } catch (error) {
      told.push(`${file.name}: ${error.message}`);
    }
  }
  draw();
  await carry();
  if (told.length) say(told.join("; "), true);
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
    redraw(number);
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
  draw();
});
document.addEventListener("dragover", (event) => event.preventDefault());
document.addEventListener("drop", (event) => { event.preventDefault(); add(event.dataTransfer.files); });
start().catch((error) => say(error.message, true));
