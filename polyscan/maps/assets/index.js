// The front page: controls, pointer, keys, search, and the state in the address.
(function () {
  "use strict";
  const polyscan = window.polyscan;
  const source = document.getElementById("map-data");
  if (!source) return;
  const $ = (id) => document.getElementById(id);
  const data = JSON.parse(source.textContent);
  const map = new polyscan.NetworkMap(data);
  const canvas = $("map");
  const rows = $("rows");
  const tooltip = new polyscan.Tooltip($("tooltip"), $("map-frame"));
  const mark = $("mark");
  const verdict = $("verdict"); // the menu; null in a run without a null
  const links = Array.from(document.querySelectorAll("#layer-names a"));
  const finder = new polyscan.Finder(map, links, $("find-answer"));
  const state = { by: map.columns[0].name, sort: "", verdict: "", width: "equal" };
  let chosen = -1; // the marked unit, or -1
  let view = null; // sizes in CSS pixels, after the map has been drawn
  let drawn = state.by; // the score that the map shows
  let writing = 0; // the timer for the next change of the address

  // --- state in the address ---

  function readAddress() {
    const params = new URLSearchParams(location.hash.slice(1));
    state.by = map.column(params.get("by")) ? params.get("by") : map.columns[0].name;
    const sort = params.get("sort") || "";
    state.sort = sort === ":channel" || (map.column(sort) && sort !== state.by) ? sort : "";
    state.verdict = isVerdict(params.get("verdict")) ? params.get("verdict") : "";
    state.width = params.get("width") === "true" ? "true" : "equal";
    const name = params.get("unit");
    chosen = name ? finder.parse(name).unit : -1;
    $("by").value = state.by;
    $("sort").value = state.sort;
    if (verdict) verdict.value = state.verdict;
    document.querySelector(`input[name=width][value=${state.width}]`).checked = true;
    if (name && $("find").value !== name) {
      $("find").value = name;
      finder.answer(name, state.by);
    }
  }

  function isVerdict(word) {
    return Boolean(verdict) && Array.from(verdict.options).some((option) => option.value === word);
  }

  function writeAddress() {
    clearTimeout(writing);
    const params = new URLSearchParams();
    if (state.by !== map.columns[0].name) params.set("by", state.by);
    if (state.sort) params.set("sort", state.sort);
    if (state.verdict) params.set("verdict", state.verdict);
    if (state.width === "true") params.set("width", "true");
    if (chosen >= 0) params.set("unit", map.name(chosen));
    const hash = params.toString();
    history.replaceState(null, "", hash ? "#" + hash : location.pathname + location.search);
  }

  // --- drawing ---

  function sizes() {
    const ratio = window.devicePixelRatio || 1;
    const total = rows.clientWidth;
    const narrow = total < 620;
    const names = narrow ? 0 : nameWidth(total);
    const strip = narrow ? Math.round(total * 0.34) : Math.round(Math.max(190, Math.min(320, total * 0.25)));
    const count = Math.max(1, map.layers.length);
    const pitch = Math.round((narrow ? 29 : Math.max(12, Math.min(34, 610 / count))) * ratio);
    const label = narrow ? Math.round(16 * ratio) : 0;
    const gap = Math.max(1, Math.round((pitch / ratio > 24 && !narrow ? 4 : 1) * ratio));
    // The canvas begins and ends where a CSS pixel and a device pixel begin together, so that its pixels are those of
    // the screen.
    const grid = commonStep(ratio);
    const edge = rows.getBoundingClientRect().left + window.scrollX + names;
    const left = names + Math.ceil(edge / grid) * grid - edge;
    const room = Math.max(24, total - left - strip - (narrow ? 8 : 18));
    const width = Math.round(Math.floor(room / grid) * grid * ratio);
    const height = Math.round(Math.ceil((pitch * count) / ratio / grid) * grid * ratio);
    return { ratio, grid, total, narrow, names, strip, left, frame: { width, pitch, label, row: pitch - label - gap, height } };
  }

  // The smallest number of CSS pixels that makes whole device pixels: 1 at a ratio of 2, 2 at 1.5, 4 at 1.25.
  function commonStep(ratio) {
    for (let step = 1; step <= 20; step++) if (Math.abs(step * ratio - Math.round(step * ratio)) < 1e-6) return step;
    return 1;
  }

  // Does the same vertically, because the texts above the rows can end at any height.
  function alignRows() {
    const top = rows.getBoundingClientRect().top + window.scrollY - (parseFloat(rows.style.marginTop) || 0);
    rows.style.marginTop = Math.ceil(top / view.grid) * view.grid - top + "px";
  }

  function nameWidth(total) {
    const context = document.createElement("canvas").getContext("2d");
    context.font = getComputedStyle(links[0] || rows).font;
    const longest = Math.max(0, ...map.layers.map((layer) => context.measureText(layer.name).width));
    return Math.ceil(Math.min(longest + 4, total * 0.22, 240)) + 12;
  }

  function theme() {
    const style = getComputedStyle(document.documentElement);
    const pixel = function (name) {
      const rgb = parseInt(style.getPropertyValue(name).trim().slice(1), 16);
      return (0xff000000 | ((rgb & 255) << 16) | (rgb & 0xff00) | (rgb >> 16)) >>> 0;
    };
    return {
      blank: pixel("--panel"),
      ink: pixel("--hatch-ink"),
      paper: pixel("--hatch-paper"),
      period: Math.max(4, Math.round(5 * view.ratio)),
      thick: Math.max(1, Math.round(1.3 * view.ratio)),
    };
  }

  // Draws when the columns have been loaded; if that fails, says so and goes back to the default column.
  function draw() {
    const loading = map.loader.need([state.by, state.sort]);
    if (!loading) return drawNow();
    const choice = [state.by, state.sort].join(" ");
    $("map-frame").setAttribute("aria-busy", "true");
    loading.then(function () {
      if ([state.by, state.sort].join(" ") === choice) drawNow();
    }, function (error) {
      $("shown").textContent = error.message;
      state.by = map.columns[0].name;
      state.sort = "";
      $("by").value = state.by;
      $("sort").value = "";
      if (!view) drawNow();
    });
  }

  function drawNow() {
    if (!rows.clientWidth) return; // not visible; the ResizeObserver draws it when it becomes visible
    $("map-frame").removeAttribute("aria-busy");
    view = sizes();
    drawn = state.by;
    const { ratio, frame } = view;
    const column = map.column(state.by);
    canvas.width = frame.width;
    canvas.height = frame.height;
    canvas.style.width = frame.width / ratio + "px";
    canvas.style.height = frame.height / ratio + "px";
    canvas.style.left = view.left + "px";
    rows.style.height = frame.height / ratio + "px";
    map.layOut(state, frame);
    map.paint(canvas, theme());
    placeNames();
    placeStrip(column);
    describe(column);
    alignRows();
    placeMark();
    window.READY = true;
  }

  function placeNames() {
    const { ratio, frame, narrow, names, total } = view;
    $("map-frame").classList.toggle("narrow", narrow);
    $("layer-names").classList.toggle("tight", !narrow && frame.pitch / ratio < 13.5);
    links.forEach(function (link, place) {
      const item = link.parentElement;
      item.style.top = (place * frame.pitch) / ratio + "px";
      item.style.height = (narrow ? frame.label : frame.row) / ratio + "px";
      item.style.lineHeight = item.style.height;
      item.style.width = (narrow ? total : names - 10) + "px";
    });
  }

  function placeStrip(column) {
    const { ratio, frame, left } = view;
    const start = left + frame.width / ratio + (view.narrow ? 8 : 18);
    for (const svg of [$("strip"), $("strip-axis")]) svg.style.left = start + "px";
    const shape = { width: view.total - start, height: frame.height / ratio, axis: 34, row: frame.row / ratio };
    shape.weak = map.layers.map((layer) => layer.weak);
    shape.tops = map.layers.map((_, place) => (place * frame.pitch + frame.label) / ratio);
    polyscan.drawStrip($("strip"), $("strip-axis"), column.trend, shape, column.label);
    $("map-axis").style.left = left + "px";
    $("map-axis").style.width = frame.width / ratio + "px";
  }

  function describe(column) {
    const sort = state.sort === ":channel" ? "channel number" : state.sort ? map.column(state.sort).label : column.label;
    $("map-axis").replaceChildren(...axisLabels(sort).map((text) => polyscan.element("span", {}, text)));
    $("map-note").textContent = crowdedNote();
    $("column-help").textContent = column.help;
    let shown = 0;
    let unscored = 0;
    let dead = 0;
    let others = 0;
    for (const parts of map.current.parts) {
      shown += parts[0];
      unscored += parts[1];
      dead += parts[2];
      others += parts[3] || 0;
    }
    const legend = polyscan.element("span", { class: "scale" });
    legend.append(...new polyscan.Scale(column, map.colors).legend());
    const entries = [legend];
    if (dead) entries.push(hatched("dead", "dead"));
    if (unscored) entries.push(hatched("unscored", "no score"));
    if (others) entries.push(hatched("other", "others"));
    $("legend").replaceChildren(...entries);
    const rest = [dead ? polyscan.countText(dead) + " dead" : "", unscored ? polyscan.countText(unscored) + " without this score" : "",
      others ? polyscan.countText(others) + (state.verdict === "low-q" ? " with q of .05 or more, or without q" : " with another verdict") : ""];
    const restText = rest.filter(Boolean).join(", ");
    $("shown").textContent =
      `${polyscan.countText(shown)} of ${polyscan.countText(map.total)} units shown` + (restText ? ` · ${restText}` : "");
  }

  function axisLabels(sort) {
    const ends = state.sort === ":channel" ? ["first", "last"] : ["low", "high"];
    if (state.width === "true") return [`units of each layer, ${ends[0]} to ${ends[1]} by ${sort}`];
    return [ends[0], (view.narrow ? "by " : "units of each layer, by ") + sort, ends[1]];
  }

  // The note on layers with more units than pixels.
  function crowdedNote() {
    const crowded = map.spans.filter((spans) => spans.some((span) => span.count > span.width)).length;
    if (!crowded) return "Every unit has its own cell.";
    const which = state.sort ? "the one furthest from its layer's median" : "one of them";
    return `In ${crowded} of ${map.layers.length} layers units outnumber pixels: a pixel stands for several units and shows ${which}. The arrow keys reach every unit.`;
  }

  function hatched(name, text) {
    const entry = polyscan.element("span", { class: "hatched" });
    entry.append(polyscan.element("span", { class: "step hatch-" + name }), polyscan.element("span", { class: "end" }, text));
    return entry;
  }

  // --- one unit: mark, tooltip, spoken text ---

  function placeMark() {
    mark.hidden = chosen < 0 || !view;
    if (chosen < 0 || !view) return;
    const { ratio, left } = view;
    const box = map.box(chosen);
    mark.style.left = left + box.left / ratio + "px";
    mark.style.top = box.top / ratio + "px";
    mark.style.width = box.width / ratio + "px";
    mark.style.height = box.height / ratio + "px";
  }

  function choose(unit) {
    chosen = unit;
    placeMark();
    // Browsers limit how often a page changes the address, and a held arrow key would exceed the limit.
    clearTimeout(writing);
    writing = setTimeout(writeAddress, 120);
  }

  function speak(unit) {
    const column = map.column(drawn);
    const value = polyscan.numberText(column.values()[unit], column.kind);
    const parts = [map.name(unit), `${column.label} ${value}`, map.verdicts.word(unit), map.fate(unit, drawn)];
    $("spoken").textContent = parts.filter(Boolean).join(", ");
  }

  function showChosen() {
    if (chosen < 0) return;
    const { ratio, left } = view;
    const box = map.box(chosen);
    const top = rows.offsetTop;
    tooltip.showUnit(map, chosen, drawn, left + (box.left + box.width) / ratio, top + (box.top + box.height) / ratio);
    speak(chosen);
  }

  function open(unit) {
    choose(unit);
    writeAddress();
    location.href = map.address(unit);
  }

  // --- pointer and keys ---

  function under(event) {
    const box = canvas.getBoundingClientRect();
    return map.unitAt((event.clientX - box.left) * view.ratio, (event.clientY - box.top) * view.ratio);
  }

  function inFrame(event) {
    const frame = $("map-frame").getBoundingClientRect();
    return [event.clientX - frame.left, event.clientY - frame.top];
  }

  canvas.addEventListener("pointermove", function (event) {
    const unit = under(event);
    canvas.style.cursor = unit < 0 ? "default" : "pointer";
    if (unit < 0) return tooltip.hide();
    tooltip.showUnit(map, unit, drawn, ...inFrame(event));
  });
  canvas.addEventListener("pointerleave", () => tooltip.hide());
  canvas.addEventListener("click", function (event) {
    const unit = under(event);
    if (unit < 0) return;
    // Touch has no hover: the first tap shows the unit, the second tap opens it.
    if (event.pointerType === "touch" && unit !== chosen) {
      choose(unit);
      showChosen();
    } else open(unit);
  });
  canvas.addEventListener("focus", function () {
    if (canvas.matches(":focus-visible") && map.total) {
      if (chosen < 0) choose(map.current.units[0]);
      showChosen();
    }
  });
  canvas.addEventListener("blur", () => tooltip.hide());
  canvas.addEventListener("keydown", function (event) {
    if (event.ctrlKey || event.metaKey || event.altKey || !map.total) return;
    const from = chosen < 0 ? map.current.units[0] : chosen;
    const all = map.total;
    const moves = {
      ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0], Home: [0, -all], End: [0, all],
    };
    if (event.key === "Enter" && chosen >= 0) open(chosen);
    else if (event.key === "Escape") tooltip.hide();
    else if (moves[event.key]) {
      choose(chosen < 0 ? from : map.step(from, ...moves[event.key]));
      showChosen();
      mark.scrollIntoView({ block: "nearest" });
    } else return;
    event.preventDefault();
  });

  $("strip").addEventListener("pointermove", function (event) {
    const box = $("strip").getBoundingClientRect();
    const place = Math.floor(((event.clientY - box.top) * view.ratio) / view.frame.pitch);
    const row = (map.column(drawn).trend || [])[place];
    if (!row) return tooltip.hide();
    tooltip.showLayer(map.layers[place].name, map.column(drawn), row, ...inFrame(event));
  });
  $("strip").addEventListener("pointerleave", () => tooltip.hide());

  // --- find ---

  $("find").addEventListener("input", function () {
    const text = $("find").value.trim();
    const match = finder.answer(text, drawn);
    choose(match.unit);
    // Names are loaded at the first search that needs them, because there are many.
    if (data.named && text && match.layer < 0) map.loader.names().then(function (names) {
      if ($("find").value.trim() === text) finder.answerByName(text, names);
    }, (error) => { $("find-answer").textContent = error.message; });
  });

  // --- controls ---

  $("controls").addEventListener("submit", function (event) {
    event.preventDefault();
    if (chosen >= 0) {
      mark.scrollIntoView({ block: "center" });
      showChosen();
    }
  });
  $("controls").addEventListener("change", function (event) {
    if (event.target.id === "find") return;
    state.by = $("by").value;
    state.sort = $("sort").value === state.by ? "" : $("sort").value;
    $("sort").value = state.sort;
    state.verdict = verdict ? verdict.value : "";
    state.width = document.querySelector("input[name=width]:checked").value;
    tooltip.hide();
    draw();
    if ($("find").value.trim()) finder.answer($("find").value.trim(), state.by);
    writeAddress();
  });
  window.addEventListener("hashchange", function () {
    readAddress();
    draw();
  });
  let waiting = 0;
  new ResizeObserver(function () {
    cancelAnimationFrame(waiting);
    waiting = requestAnimationFrame(function () {
      if (!view || rows.clientWidth !== view.total || window.devicePixelRatio !== view.ratio) draw();
    });
  }).observe($("map-frame"));
  window.addEventListener("resize", function () {
    if (view && window.devicePixelRatio !== view.ratio) draw();
  });
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);

  const drawer = $("drawer");
  if (window.matchMedia("(max-width: 640px)").matches) drawer.open = false; // open, it would push the map off a small screen
  readAddress();
  draw();
  // For tests and for the console: what is drawn, and where.
  polyscan.network = { map: map, state: state, view: () => view, chosen: () => chosen };
})();
