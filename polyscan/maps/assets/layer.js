// The layer page: charts of the chosen score, the table of units, and the state of both in the address.
(function () {
  "use strict";
  const polyscan = window.polyscan;
  const source = document.getElementById("layer-data");
  if (!source) return;
  const $ = (id) => document.getElementById(id);
  const data = JSON.parse(source.textContent);
  const columns = polyscan.columns(data.columns);
  const channels = polyscan.unpacked(data.channel);
  const column = (name) => columns.find((candidate) => candidate.name === name);
  const verdicts = polyscan.verdicts(data.verdict);
  const isDead = polyscan.flags(data.dead);
  // The units of the layer; a unit is its index in the lists, which are in the order of channels.
  const units = {
    place: data.place, count: channels.length, channels, columns, column, verdicts, isDead,
    hasVerdicts: Boolean(data.verdict), q: data.q && column(data.q.name),
    name: (unit) => `${data.layer}:${channels[unit]}`,
    address: (unit) => `../unit.html#${encodeURIComponent(data.layer)}:${channels[unit]}`,
    fate: (unit, by) => (isDead(unit) ? "dead unit" : Number.isFinite(column(by).values()[unit]) ? "" : "without this score"),
    layerOf: channels.map(() => 0), layers: [{ weak: false }],
  };
  const blocks = new polyscan.Blocks({ run: data.run, layers: { length: data.n_layers } }, "../");
  const plots = $("plots");
  const tooltip = new polyscan.Tooltip($("tooltip"), plots);
  const state = { by: columns[0].name, sort: ":channel", direction: "up", verdict: "", onlyQ: false, text: "" };
  let asked = null; // the channel in the address, as text
  let width = 0;

  // --- state in the address ---

  function isVerdict(word) {
    return Array.from($("verdict").options).some((option) => option.value === word);
  }

  function readAddress() {
    const hash = location.hash.slice(1);
    const match = /^unit-(\d+)$/.exec(hash); // the id of a line of the table
    const params = new URLSearchParams(match ? `unit=${match[1]}` : hash);
    state.by = column(params.get("by")) ? params.get("by") : columns[0].name;
    state.sort = table.has(params.get("sort")) ? params.get("sort") : ":channel";
    state.direction = ["up", "down"].includes(params.get("direction")) ? params.get("direction") : table.first(state.sort);
    state.verdict = units.hasVerdicts && isVerdict(params.get("verdict")) ? params.get("verdict") : "";
    state.onlyQ = Boolean(units.q) && params.get("only") === "q";
    state.text = params.get("text") || "";
    asked = params.get("unit");
    $("by").value = state.by;
    if ($("verdict")) $("verdict").value = state.verdict;
    if ($("only-q")) $("only-q").checked = state.onlyQ;
    $("text").value = state.text;
  }

  function writeAddress() {
    const params = new URLSearchParams();
    if (state.by !== columns[0].name) params.set("by", state.by);
    if (state.sort !== ":channel") params.set("sort", state.sort);
    if (state.direction !== table.first(state.sort)) params.set("direction", state.direction);
    if (state.verdict) params.set("verdict", state.verdict);
    if (state.onlyQ) params.set("only", "q");
    if (state.text) params.set("text", state.text);
    if (asked) params.set("unit", asked);
    const hash = params.toString();
    history.replaceState(null, "", hash ? "#" + hash : location.pathname + location.search);
  }

  // --- charts ---

  // Adds an empty chart with its title and a sentence; returns the element to draw in.
  function plot(title, sentence) {
    const figure = polyscan.element("figure", { class: "chart" });
    const caption = polyscan.element("figcaption", {});
    caption.append(polyscan.element("strong", {}, title), " ", polyscan.element("span", {}, sentence));
    const frame = polyscan.element("div", { class: "plot-frame" });
    figure.append(caption, frame);
    plots.append(figure);
    return frame;
  }

  function drawCharts() {
    tooltip.hide();
    for (const figure of plots.querySelectorAll("figure")) figure.remove();
    const by = column(state.by);
    $("column-help").textContent = by.help;
    const others = data.beside.map(column).filter((other) => other !== by);
    const charts = [spread(by), ...others.map((other) => against(by, other))];
    if (data.null) charts.push(nullChart());
    const frames = charts.map(({ title, sentence }) => plot(title, sentence)); // add all before any is measured
    charts.forEach(({ draw }, place) => draw(frames[place]));
    width = plots.clientWidth;
  }

  function against(by, other) {
    const association = data.associations.find((one) => one.column === by.name && one.beside === other.name);
    const sentence = association ? `${association.words}. Brackets: 95\u00a0% bootstrap interval.` : "No correlation was computed.";
    const draw = function (frame) {
      if (polyscan.drawable(units, [by, other]).length) new polyscan.Scatter(frame, units, other, by, showUnit);
      else frame.textContent = "No live unit has both scores.";
    };
    return { title: `${by.label} against ${other.label}`, sentence, draw };
  }

  function nullChart() {
    const z = polyscan.unpacked(data.null.z);
    const count = polyscan.countText(z.length);
    const bars = `Bars: ${count} units, each against null sets of similar homogeneity.`;
    const sentence = `${bars} Line: the null, scaled.`;
    const draw = (frame) => polyscan.drawNull(frame, data.null, z, tooltip);
    return { title: `${data.null.score} against its null`, sentence, draw };
  }

  function spread(by) {
    const shown = polyscan.drawable(units, [by]);
    const draw = function (frame) {
      const values = shown.map((unit) => by.values()[unit]);
      if (values.length) polyscan.drawDistribution(frame, by, values, data.means[by.name], tooltip);
    };
    return { title: by.label, sentence: spreadSentence(by, shown.length), draw };
  }

  // The sentence on what the histogram shows and what it leaves out.
  function spreadSentence(by, live) {
    let dead = 0;
    for (let unit = 0; unit < units.count; unit++) dead += units.isDead(unit);
    const unscored = units.count - dead - live;
    const count = polyscan.countText;
    const omitted = [];
    if (dead) omitted.push(`${count(dead)} dead`);
    if (unscored) omitted.push(`${count(unscored)} without this score`);
    const rest = omitted.length ? `; not drawn: ${omitted.join(" and ")}` : "";
    if (!live) return `No live unit has this score${rest}.`;
    const row = data.means[by.name];
    const mean = row ? ` Line: mean ${polyscan.numberText(row[1])}` : "";
    const control = row && row.length > 9 ? `; dashed: single-concept controls ${polyscan.numberText(row[9])}` : "";
    return `${count(live)} live, scored units${rest}.${mean}${control}${mean ? "." : ""}`;
  }

  // Shows the tooltip of a unit at x, y of the frame of its chart.
  function showUnit(unit, frame, x, y) {
    if (unit < 0) return tooltip.hide();
    const outer = plots.getBoundingClientRect();
    const inner = frame.getBoundingClientRect();
    tooltip.showUnit(units, unit, state.by, inner.left - outer.left + x, inner.top - outer.top + y);
  }

  // --- table ---

  function drawTable() {
    const shown = table.apply(state);
    $("shown").textContent = `${polyscan.countText(shown)} of ${polyscan.countText(units.count)} units shown`;
  }

  function answer() {
    const unit = asked === null || !/^\d+$/.test(asked) ? -1 : channels.indexOf(Number(asked));
    const isMissing = asked !== null && unit < 0;
    const isHidden = unit >= 0 && !table.show(unit);
    $("asked").hidden = !isMissing && !isHidden;
    if (isMissing) $("asked").textContent = `${data.layer} has no unit ${asked} in this run.`;
    const hidden = "is not among the units shown: the choices above the table hide it.";
    if (isHidden) $("asked").textContent = `${units.name(unit)} ${hidden}`;
  }

  function sortBy(key) {
    state.direction = state.sort !== key ? table.first(key) : state.direction === "up" ? "down" : "up";
    state.sort = key;
    drawTable();
    writeAddress();
  }

  // --- start ---

  $("charts").hidden = $("units").hidden = false;
  const table = new polyscan.UnitTable($("unit-box"), units, blocks, sortBy);
  for (const form of document.querySelectorAll("form.controls")) form.addEventListener("submit", (event) => event.preventDefault());
  $("by").addEventListener("change", function () {
    state.by = $("by").value;
    drawCharts();
    writeAddress();
  });
  for (const id of ["verdict", "only-q", "text"]) {
    if ($(id)) $(id).addEventListener("input", function () {
      state.verdict = $("verdict") ? $("verdict").value : "";
      state.onlyQ = Boolean($("only-q")) && $("only-q").checked;
      state.text = $("text").value;
      drawTable();
      writeAddress();
    });
  }
  function start() {
    readAddress();
    drawTable();
    drawCharts();
    answer();
  }
  window.addEventListener("hashchange", start);
  new ResizeObserver(function () {
    if (plots.clientWidth !== width) requestAnimationFrame(drawCharts);
  }).observe(plots);
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawCharts);
  start();
  window.READY = true;
  // For tests and for the console: what is shown.
  polyscan.layerPage = { units: units, state: state, table: table };
})();
