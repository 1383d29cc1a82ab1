// A layer page: charts of the chosen score, the table of units, and the state of both in the address.
(function () {
  "use strict";
  const polyscan = window.polyscan;
  const source = document.getElementById("layer-data");
  if (!source) return;
  const $ = (id) => document.getElementById(id);
  const data = JSON.parse(source.textContent);
  const columns = polyscan.columns(data.columns);
  const channels = polyscan.unpacked(data.channel);
  const column = (name) => columns.find((one) => one.name === name);
  const verdicts = polyscan.verdicts(data.verdict);
  const isDead = polyscan.flags(data.dead);
  // The layer's units: one place in every list for each, in the order of their channels.
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
  let asked = null; // the channel that the address names, as it is written there
  let width = 0;

  // --- state in the address ---

  function readAddress() {
    const hash = location.hash.slice(1);
    const old = /^unit-(\d+)$/.exec(hash); // an element's name, as a link may have it
    const words = new URLSearchParams(old ? `unit=${old[1]}` : hash);
    state.by = column(words.get("by")) ? words.get("by") : columns[0].name;
    state.sort = table.has(words.get("sort")) ? words.get("sort") : ":channel";
    state.direction = ["up", "down"].includes(words.get("direction")) ? words.get("direction") : table.first(state.sort);
    state.verdict = units.hasVerdicts && ["several", "one", "unjudged"].includes(words.get("verdict")) ? words.get("verdict") : "";
    state.onlyQ = Boolean(units.q) && words.get("only") === "q";
    state.text = words.get("text") || "";
    asked = words.get("unit");
    $("by").value = state.by;
    if ($("verdict")) $("verdict").value = state.verdict;
    if ($("only-q")) $("only-q").checked = state.onlyQ;
    $("text").value = state.text;
  }

  function writeAddress() {
    const words = new URLSearchParams();
    if (state.by !== columns[0].name) words.set("by", state.by);
    if (state.sort !== ":channel") words.set("sort", state.sort);
    if (state.direction !== table.first(state.sort)) words.set("direction", state.direction);
    if (state.verdict) words.set("verdict", state.verdict);
    if (state.onlyQ) words.set("only", "q");
    if (state.text) words.set("text", state.text);
    if (asked) words.set("unit", asked);
    const hash = words.toString();
    history.replaceState(null, "", hash ? "#" + hash : location.pathname + location.search);
  }

  // --- charts ---

  // A chart's place with its title and a sentence beside it.
  function plot(title, sentence) {
    const figure = polyscan.element("figure", { class: "chart" });
    const words = polyscan.element("figcaption", {});
    words.append(polyscan.element("strong", {}, title), " ", polyscan.element("span", {}, sentence));
    const frame = polyscan.element("div", { class: "plot-frame" });
    figure.append(words, frame);
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
    const frames = charts.map(({ title, sentence }) => plot(title, sentence)); // all of them, before any is measured
    charts.forEach(({ draw }, place) => draw(frames[place]));
    width = plots.clientWidth;
  }

  function against(by, beside) {
    const found = data.associations.find((one) => one.column === by.name && one.beside === beside.name);
    const sentence = found ? `${found.words}. The interval is a 95 % bootstrap over units.` : "No correlation was computed.";
    const draw = function (frame) {
      if (polyscan.drawable(units, [by, beside]).length) new polyscan.Scatter(frame, units, beside, by, tell);
      else frame.textContent = "No live unit has both.";
    };
    return { title: `${by.label} against ${beside.label}`, sentence, draw };
  }

  function nullChart() {
    const z = polyscan.unpacked(data.null.z);
    const count = polyscan.countText(z.length);
    const bars = `Bars: ${count} units, each against the null sets as homogeneous as its evidence.`;
    const sentence = `${bars} Line: those null sets, scaled to as many.`;
    const draw = (frame) => polyscan.drawNull(frame, data.null, z, tooltip);
    return { title: `${data.null.score} against its null`, sentence, draw };
  }

  function spread(by) {
    const shown = polyscan.drawable(units, [by]);
    const draw = function (frame) {
      const values = shown.map((unit) => by.values()[unit]);
      if (values.length) polyscan.drawDistribution(frame, by, values, data.means[by.name], tooltip);
    };
    return { title: by.label, sentence: spreadWords(by, shown.length), draw };
  }

  // What the histogram shows and what it leaves out.
  function spreadWords(by, live) {
    let dead = 0;
    for (let unit = 0; unit < units.count; unit++) dead += units.isDead(unit);
    const unscored = units.count - dead - live;
    const count = polyscan.countText;
    const left = [];
    if (dead) left.push(`${count(dead)} dead`);
    if (unscored) left.push(`${count(unscored)} without this score`);
    const out = left.length ? `; not drawn: ${left.join(" and ")}` : "";
    if (!live) return `No live unit has this score${out}.`;
    const row = data.means[by.name];
    const mean = row ? ` Mean (line) ${polyscan.numberText(row[1])}` : "";
    const control = row && row.length > 9 ? `, of one-concept controls (dashed) ${polyscan.numberText(row[9])}` : "";
    return `${count(live)} live, scored units${out}.${mean}${control}${mean ? "." : ""}`;
  }

  // Tells of a point at x, y of its chart's frame.
  function tell(unit, frame, x, y) {
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
    const hidden = "is not among the units shown: the choices above the table leave it out.";
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
