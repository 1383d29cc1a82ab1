// The parts of a unit's page that are words and pictures: its head, its numbers, its clusters, its nearest units.
(function () {
  "use strict";
  const polyscan = (window.polyscan = window.polyscan || {});
  const { element, numberText, countText } = polyscan;
  const CLUSTERS = "n_clusters";
  const SIDES = { exemplars: 96, visualizations: 128, "begun-from-exemplars": 128 }; // CSS pixels of a picture's longer side
  const PREFIXES = { exemplars: "", visualizations: "V", "begun-from-exemplars": "M" };
  const TITLES = {
    exemplars: "Exemplars",
    visualizations: "Visualizations",
    "begun-from-exemplars": "Visualizations begun from exemplars",
  };

  // Numbers come as the shortest decimal of a float32; the map holds the float32 itself, and the digits shall agree.
  polyscan.unitNumber = function (column, value) {
    return numberText(value === null || column.kind === "count" ? value : Math.fround(value), column.kind);
  };

  function pair(label, value, help, name) {
    const made = element("div", {});
    made.append(element("dt", help ? { title: help } : {}, label));
    made.append(element("dd", name ? { "data-column": name } : {}, value));
    return made;
  }

  // What matters most: the first column, the rank by it, what chance says of it, and the number of clusters.
  polyscan.headPairs = function (columns, unit) {
    const text = (at) => polyscan.unitNumber(columns[at], unit.values[at]);
    const shown = [pair(columns[0].label, text(0), columns[0].help)];
    const rank = element("div", {});
    const place = element("dd", { id: "rank" }, unit.rank ? countText(unit.rank[0]) : "–");
    if (unit.rank) place.append(element("small", {}, ` of ${countText(unit.rank[1])} live, scored units`));
    rank.append(element("dt", {}, `rank by ${columns[0].label}`), place);
    shown.push(rank);
    columns.forEach(function (column, at) {
      if (at > 0 && (column.kind === "p" || column.name === CLUSTERS)) shown.push(pair(column.label, text(at), column.help));
    });
    const exemplars = unit.panels.find((panel) => panel.evidence === "exemplars");
    if (exemplars && !columns.some((column) => column.name === CLUSTERS)) {
      shown.push(pair("clusters", countText(exemplars.clusters.length)));
    }
    return shown;
  };

  polyscan.columnPairs = function (columns, unit) {
    return columns.map((column, at) => pair(column.label, polyscan.unitNumber(column, unit.values[at]), column.help, column.name));
  };

  polyscan.factPairs = function (facts) {
    return facts.map(([label, text]) => pair(label, text));
  };

  // --- pictures ---

  // One kind of evidence. `place` puts a sentence on what is missing where it is missed, or gives nothing.
  polyscan.panel = function (panel, sprite, root, place) {
    const made = element("section", { class: "unit-panel", "data-evidence": panel.evidence });
    const title = element("h2", {}, `${TITLES[panel.evidence] || panel.evidence} `);
    title.append(element("span", { class: "quiet" }, countText(panel.size)));
    made.append(title);
    if (panel.facts.length) {
      const facts = element("dl", { class: "facts" });
      facts.append(...polyscan.factPairs(panel.facts));
      made.append(facts);
    }
    const isMain = panel.evidence === "exemplars";
    const nameless = isMain ? place("names") : null;
    if (nameless) made.append(absent(nameless));
    const pictureless = sprite ? null : place("pictures") || "No pictures of this unit are in these maps.";
    if (pictureless) made.append(absent(pictureless));
    const isAlone = panel.clusters.length === 1 && !isMain;
    const rows = element("div", { class: isMain ? "rows-of-clusters" : "clusters-abreast" });
    panel.clusters.forEach(function (cluster, at) {
      rows.append(clusterRow(panel, cluster, at, { sprite, root, isAlone, hasNames: isMain && !nameless }));
    });
    made.append(rows);
    return made;
  };

  function clusterRow(panel, cluster, at, { sprite, root, isAlone, hasNames }) {
    const made = element("section", { class: "cluster" });
    if (!isAlone) made.append(clusterHead(panel, cluster, at, hasNames));
    if (!sprite) return made;
    if (!cluster.tiles.length) {
      made.append(absent("No picture of this cluster was kept."));
      return made;
    }
    const side = Math.max(...panel.clusters.flatMap((one) => one.tiles.map((tile) => Math.max(tile[2], tile[3]))));
    const tiles = element("div", { class: "tiles" });
    tiles.append(...cluster.tiles.map((tile) => polyscan.tile(sprite, tile, root, (SIDES[panel.evidence] || 96) / side)));
    made.append(tiles);
    return made;
  }

  // Exemplars have colours and letters, as in their chart; the clusters of others are numbered, for they are others.
  function clusterHead(panel, cluster, at, hasNames) {
    const prefix = PREFIXES[panel.evidence];
    const made = element("h3", { class: "cluster-head" });
    if (prefix === "") made.append(polyscan.mark(at));
    const name = element("strong", {}, prefix === "" ? polyscan.letter(at) : `${prefix || "C"}${at + 1}`);
    const share = Math.round((100 * cluster.size) / Math.max(1, panel.size));
    made.append(element("span", { class: "unseen" }, "cluster "), name);
    made.append(element("span", { class: "cluster-size" }, `${countText(cluster.size)} of ${countText(panel.size)} (${share} %)`));
    if (cluster.names.length) made.append(nameWords(cluster.names));
    else if (hasNames) made.append(element("span", { class: "quiet" }, "no name above chance"));
    if (cluster.tiles.length && cluster.tiles.length < cluster.size) {
      made.append(element("span", { class: "quiet" }, `${countText(cluster.tiles.length)} shown`));
    }
    return made;
  }

  function nameWords(names) {
    const made = element("span", { class: "names" });
    names.forEach(function ([name, fit], at) {
      if (at) made.append(" · ");
      made.append(element("span", { class: "cluster-name" }, name), " ", element("small", {}, fit));
    });
    return made;
  }

  function absent(sentence) {
    return element("p", { class: "absent" }, sentence);
  }

  // The place of a kind of evidence that the unit has not.
  polyscan.absentPanel = function (evidence, sentence) {
    const made = element("section", { class: "unit-panel", "data-evidence": evidence });
    made.append(element("h2", {}, TITLES[evidence]), absent(sentence));
    return made;
  };

  // --- what is missing ---

  const KINDS = [
    ["visualizations", /visuali[sz]ation/i], ["null", /\bnull\b/i], ["names", /\bnamed?\b|\bnames\b/i],
    ["pictures", /\bpictures?\b|\bimages?\b|\bthumbnails?\b|\bcrops?\b/i],
  ];

  // Sentences by what they are about; `rest` gives those that were put nowhere.
  polyscan.Missing = class {
    constructor(sentences) {
      this.left = sentences.map((sentence) => [(KINDS.find(([, words]) => words.test(sentence)) || [""])[0], sentence]);
      this.placed = new Set();
    }

    about(kind) {
      const own = this.left.filter((one) => one[0] === kind);
      for (const one of own) this.placed.add(one);
      return own.map((one) => one[1]).join(" ") || null;
    }

    rest() {
      return this.left.filter((one) => !this.placed.has(one)).map((one) => one[1]);
    }
  };
})();
