// The unit page: shows the unit that the address names; keys and links lead to other units.
(function () {
  "use strict";
  const polyscan = window.polyscan;
  const source = document.getElementById("unit-index");
  if (!source) return;
  const { element } = polyscan;
  const $ = (id) => document.getElementById(id);
  const index = JSON.parse(source.textContent);
  const alone = $("unit-block"); // a one-file copy contains the data of its unit and has no links
  const blocks = new polyscan.Blocks(index, "");
  const names = new polyscan.UnitNames(index);
  const ADVICE = "Write layer:unit above, or choose a unit on the network map.";
  const AGAIN = "Draw the maps again: polyscan show RUN.";
  const SAFE = /^[\w@%+=:,./-]+$/; // text that a shell needs no quotes for
  let shown = null; // the unit on the page, as [place of its layer, channel]
  let ways = {}; // key -> the unit that it leads to
  let latest = 0; // number of the latest request; earlier ones are ignored
  let startsAtTop = false;

  // --- from the address to the page ---

  function follow() {
    const text = names.asWritten(location.hash.slice(1));
    const request = ++latest;
    if (!text) return refuse("No unit is named in the address.", ADVICE);
    const { unit, fault } = names.parse(text);
    if (!unit) return refuse(fault, ADVICE, text);
    $("unit").setAttribute("aria-busy", "true");
    blocks.load(...unit).then(
      (block) => request === latest && fill(unit, block),
      (error) => request === latest && refuse(error.message, "", text, unit),
    );
  }

  // Shows a sentence instead of a unit; if `unit` is in this run, the links within its layer stay.
  function refuse(sentence, advice, text, unit) {
    shown = null;
    ways = {};
    $("unit-name").textContent = text || "No unit";
    document.title = `${text || "No unit"} · ${index.title}`;
    $("fault").textContent = [sentence, advice].filter(Boolean).join(" ");
    $("fault").hidden = false;
    $("unit").hidden = $("copies").hidden = $("steps").hidden = $("to-layer").hidden = true;
    $("to-map").href = "index.html";
    if (unit) setWays(unit, { more: null, less: null });
    $("unit").setAttribute("aria-busy", "false");
  }

  function fill(unit, block) {
    const data = block.units[unit[1]];
    if (!data) return refuse(`The data of ${index.layers[unit[0]].name} hold no unit ${unit[1]}.`, AGAIN, names.name(unit), unit);
    shown = unit;
    document.title = `${names.name(unit)} · ${index.title}`;
    $("unit-name").textContent = names.name(unit);
    const missing = new polyscan.Missing(data.missing);
    $("charts").replaceChildren(...charts(block, data, missing));
    $("panels").replaceChildren(...panels(data, missing));
    $("columns").classList.toggle("bare", !$("charts").firstChild && !$("panels").firstChild);
    $("numbers").replaceChildren(...polyscan.columnPairs(index.columns, data));
    $("facts").replaceChildren(...polyscan.factPairs(data.facts));
    $("facts-part").hidden = !data.facts.length;
    $("nearest").replaceChildren(...data.nearest.map(nearest));
    $("no-nearest").hidden = data.nearest.length > 0;
    $("verdict").replaceChildren(...verdict(data));
    $("second-verdict").replaceChildren(...second(data));
    $("second-verdict").hidden = !$("second-verdict").firstChild;
    $("head-numbers").replaceChildren(...polyscan.headPairs(index.columns, data));
    $("missing").replaceChildren(...missing.rest().map((sentence) => element("p", { class: "notice" }, sentence)));
    $("fault").hidden = true;
    $("unit").hidden = false;
    if (!alone) offerWays(unit, data);
    $("unit").setAttribute("aria-busy", "false");
    $("spoken").textContent = `Unit ${names.name(unit)}`;
  }

  function verdict({ verdict: word }) {
    const explanation = index.verdicts[word];
    if (!word) return explanation ? [element("strong", {}, "no verdict"), `: ${explanation}`] : [];
    return [element("strong", {}, word), explanation ? `: ${explanation}` : ""];
  }

  // The verdict of the second test, in runs that have one; nothing for a dead unit, which the first verdict explains.
  function second({ second: [word, words], dead }) {
    const explanation = index.seconds[word];
    if (dead || !explanation) return [];
    return [element("strong", {}, `second test: ${words || "no verdict"}`), `: ${explanation}`];
  }

  function charts(block, data, missing) {
    if (!data.panels.length && !data.null && !data.plane) return [];
    const hasNull = block.null && data.null;
    const noElbow = has(data, "visualizations") ? "The spread of its visualizations was not stored." : missing.about("visualizations");
    return [
      polyscan.nullChart(block.null, data.null, hasNull ? null : missing.about("null")),
      polyscan.elbowChart(data.elbow, data.elbow ? null : noElbow),
      polyscan.planeChart(data.plane, null),
    ];
  }

  function has(data, evidence) {
    return data.panels.some((panel) => panel.evidence === evidence);
  }

  function panels(data, missing) {
    const reason = (kind) => missing.about(kind);
    if (data.dead && !data.panels.length) return [];
    if (!data.panels.length) return [polyscan.absentPanel("exemplars", reason("pictures") || "No pictures of this unit are in these maps.")];
    const sections = data.panels.map((panel) => polyscan.panel(panel, data.sprite, "", reason));
    if (!has(data, "visualizations")) {
      sections.push(polyscan.absentPanel("visualizations", reason("visualizations") || "There are no visualizations of this unit."));
    } else {
      const note = "Exemplars and visualizations are clustered separately: cluster A need not match cluster V1.";
      const place = data.panels.findIndex((panel) => panel.evidence === "visualizations");
      sections[place].querySelector("h2").after(element("p", { class: "quiet apart" }, note));
    }
    return sections;
  }

  function nearest([place, channel, cosine]) {
    const item = element("li", {});
    item.append(link([place, channel], names.name([place, channel])), " ", element("span", { class: "cosine" }, polyscan.numberText(cosine)));
    return item;
  }

  function link(unit, text) {
    if (alone) return element("span", { class: "unit-link" }, text);
    const anchor = element("a", { class: "unit-link", href: `unit.html${names.hash(unit)}` }, text);
    anchor.addEventListener("click", () => (startsAtTop = true));
    return anchor;
  }

  // --- links, keys and copies ---

  function offerWays(unit, data) {
    setWays(unit, data);
    $("command").value = `polyscan figure RUN unit ${quoted(names.name(unit))} --out unit.html`;
    $("copied").textContent = "";
    $("address").hidden = true;
    $("copies").hidden = false;
    if (startsAtTop) {
      window.scrollTo(0, 0);
      $("unit-name").focus({ preventScroll: true });
    }
    startsAtTop = false;
  }

  // Sets the links and keys that lead from this unit to others.
  function setWays(unit, { more, less }) {
    ways = { j: names.neighbour(unit, 1), k: names.neighbour(unit, -1), h: more, l: less };
    for (const [key, to] of Object.entries(ways)) {
      const way = $(`way-${key}`);
      if (to) way.href = `unit.html${names.hash(to)}`;
      else way.removeAttribute("href");
      way.querySelector("span").textContent = !to ? "none" : key === "j" || key === "k" ? String(to[1]) : names.name(to);
    }
    const layer = index.layers[unit[0]];
    $("to-map").href = `index.html#unit=${encodeURIComponent(names.name(unit))}`;
    $("to-layer").href = `${layer.page}#unit=${unit[1]}`;
    $("to-layer").textContent = layer.name;
    $("steps").hidden = $("to-layer").hidden = false;
  }

  function quoted(text) {
    return SAFE.test(text) ? text : `'${text.replace(/'/g, `'"'"'`)}'`;
  }

  // Copies a text to the clipboard; if the browser refuses, selects it in its field.
  function copy(text, field) {
    const done = () => ($("copied").textContent = "Copied.");
    const refused = function () {
      field.value = text;
      field.hidden = false;
      field.focus();
      field.select();
      $("copied").textContent = "The browser does not allow copying here. Copy the selected text yourself.";
    };
    if (!navigator.clipboard) return refused();
    navigator.clipboard.writeText(text).then(done, refused);
  }

  function isTyping(target) {
    return target instanceof Element && Boolean(target.closest("input, textarea, select, [contenteditable]"));
  }

  if (alone) {
    const { unit, ...block } = JSON.parse(alone.textContent);
    fill(unit, block);
  } else {
    document.addEventListener("keydown", function (event) {
      if (event.ctrlKey || event.metaKey || event.altKey || event.shiftKey || isTyping(event.target)) return;
      if (ways[event.key]) location.hash = names.hash(ways[event.key]);
    });
    $("go").addEventListener("submit", function (event) {
      event.preventDefault();
      const { unit, fault } = names.parse($("wanted").value.trim());
      $("go-answer").textContent = unit ? "" : fault;
      if (unit) location.hash = names.hash(unit);
    });
    $("layer-names").append(...index.layers.map((layer) => element("option", { value: `${layer.name}:` })));
    $("copy-address").addEventListener("click", () => copy(location.href, $("address")));
    $("copy-command").addEventListener("click", () => copy($("command").value, $("command")));
    window.addEventListener("hashchange", follow);
    follow();
  }
  // For tests and for the console: the unit on the page.
  polyscan.unitPage = { shown: () => shown && names.name(shown) };
})();
