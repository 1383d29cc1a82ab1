// The parts of the unit page with texts and pictures: its head, its numbers, its clusters.
(function () {
  "use strict";
  const polyscan = (window.polyscan = window.polyscan || {});
  const { element, numberText, countText } = polyscan;
  const CLUSTERS = "n_clusters";
  const SIDES = { exemplars: 96, deflated: 96, swaps: 96, visualizations: 128, "begun-from-exemplars": 128 }; // CSS pixels of a picture's longer side
  const PREFIXES = { exemplars: "", deflated: "R", swaps: "S", visualizations: "V", "begun-from-exemplars": "M" };
  const TITLES = {
    exemplars: "Exemplars",
    deflated: "What its main meaning leaves unexplained",
    swaps: "Do its clusters drive it? Patches pasted into other images",
    visualizations: "Visualizations",
    "begun-from-exemplars": "Visualizations started from exemplars",
  };

  // The data have the shortest decimal of a float32. Rounding to float32 gives the same digits as on the map.
  polyscan.unitNumber = function (column, value) {
    return numberText(value === null || column.kind === "count" ? value : Math.fround(value), column.kind);
  };

  function pair(label, value, help, name) {
    const row = element("div", {});
    row.append(element("dt", help ? { title: help } : {}, label));
    row.append(element("dd", name ? { "data-column": name } : {}, value));
    return row;
  }

  // The most important numbers: the first column, the rank by it, p and q, and the number of clusters.
  polyscan.headPairs = function (columns, unit) {
    const text = (i) => polyscan.unitNumber(columns[i], unit.values[i]);
    const pairs = [pair(columns[0].label, text(0), columns[0].help)];
    const rank = element("div", {});
    const place = element("dd", { id: "rank" }, unit.rank ? countText(unit.rank[0]) : "–");
    if (unit.rank) place.append(element("small", {}, ` of ${countText(unit.rank[1])} live, scored units`));
    rank.append(element("dt", {}, `rank by ${columns[0].label}`), place);
    pairs.push(rank);
    columns.forEach(function (column, i) {
      if (i > 0 && (column.kind === "p" || column.name === CLUSTERS)) pairs.push(pair(column.label, text(i), column.help));
    });
    const exemplars = unit.panels.find((panel) => panel.evidence === "exemplars");
    if (exemplars && !columns.some((column) => column.name === CLUSTERS)) {
      pairs.push(pair("clusters", countText(exemplars.clusters.length)));
    }
    return pairs;
  };

  polyscan.columnPairs = function (columns, unit) {
    return columns.map((column, i) => pair(column.label, polyscan.unitNumber(column, unit.values[i]), column.help, column.name));
  };

  polyscan.factPairs = function (facts) {
    return facts.map(([label, text]) => pair(label, text));
  };

  // --- pictures ---

  // One kind of evidence. `reason(kind)` gives the sentence on why names or pictures are missing, or null.
  polyscan.panel = function (panel, sprite, root, reason) {
    const section = element("section", { class: "unit-panel", "data-evidence": panel.evidence });
    const title = element("h2", {}, `${TITLES[panel.evidence] || panel.evidence} `);
    const isMain = panel.evidence === "exemplars";
    const isAlone = panel.clusters.length === 1 && !isMain && panel.evidence !== "swaps"; // such a cluster has no head that says how many are shown
    const n = isAlone ? panel.clusters[0].tiles.length : 0;
    title.append(element("span", { class: "quiet" }, countText(panel.size) + (n && n < panel.size ? `, ${countText(n)} shown` : "")));
    section.append(title);
    if (panel.facts.length) {
      const facts = element("dl", { class: "facts" });
      facts.append(...polyscan.factPairs(panel.facts));
      section.append(facts);
    }
    const nameless = isMain ? reason("names") : null;
    if (nameless) section.append(absent(nameless));
    const pictureless = sprite ? null : reason("pictures") || "No pictures of this unit are in these maps.";
    if (pictureless) section.append(absent(pictureless));
    const rows = element("div", { class: isMain ? "rows-of-clusters" : "clusters-abreast" });
    panel.clusters.forEach(function (cluster, place) {
      rows.append(clusterRow(panel, cluster, place, { sprite, root, isAlone, hasNames: isMain && !nameless }));
    });
    section.append(rows);
    return section;
  };

  function clusterRow(panel, cluster, place, { sprite, root, isAlone, hasNames }) {
    const section = element("section", { class: "cluster" });
    if (!isAlone) section.append(clusterHead(panel, cluster, place, hasNames));
    if (!sprite) return section;
    if (!cluster.tiles.length) {
      section.append(absent("No picture of this cluster was stored."));
      return section;
    }
    const side = Math.max(...panel.clusters.flatMap((other) => other.tiles.map((tile) => Math.max(tile[2], tile[3]))));
    const tiles = element("div", { class: "tiles" });
    tiles.append(...cluster.tiles.map((tile) => polyscan.tile(sprite, tile, root, (SIDES[panel.evidence] || 96) / side)));
    section.append(tiles);
    return section;
  }

  // Clusters of exemplars have a mark and a letter, as in their chart; clusters of other evidence have a number.
  function clusterHead(panel, cluster, place, hasNames) {
    const prefix = PREFIXES[panel.evidence];
    const head = element("h3", { class: "cluster-head" });
    if (prefix === "") head.append(polyscan.mark(place));
    const name = element("strong", {}, prefix === "" ? polyscan.letter(place) : `${prefix || "C"}${place + 1}`);
    const share = Math.round((100 * cluster.size) / Math.max(1, panel.size));
    head.append(element("span", { class: "unseen" }, "cluster "), name);
    const isShare = panel.evidence !== "swaps"; // the clusters of swaps are named in words, and their sizes are not of one whole
    if (isShare) head.append(element("span", { class: "cluster-size" }, `${countText(cluster.size)} of ${countText(panel.size)} (${share} %)`));
    if (cluster.names.length) head.append(nameList(cluster.names));
    else if (hasNames) head.append(element("span", { class: "quiet" }, "no name above chance"));
    if (isShare && cluster.tiles.length && cluster.tiles.length < cluster.size) {
      head.append(element("span", { class: "quiet" }, `${countText(cluster.tiles.length)} shown`));
    }
    return head;
  }

  function nameList(names) {
    const list = element("span", { class: "names" });
    names.forEach(function ([name, fit], i) {
      if (i) list.append(" · ");
      list.append(element("span", { class: "cluster-name" }, name), " ", element("small", {}, fit));
    });
    return list;
  }

  function absent(sentence) {
    return element("p", { class: "absent" }, sentence);
  }

  // The section for a kind of evidence that the unit does not have.
  polyscan.absentPanel = function (evidence, sentence) {
    const section = element("section", { class: "unit-panel", "data-evidence": evidence });
    section.append(element("h2", {}, TITLES[evidence]), absent(sentence));
    return section;
  };

  // --- what is missing ---

  const KINDS = [
    ["visualizations", /visuali[sz]ation/i], ["null", /\bnull\b/i], ["names", /\bnamed?\b|\bnames\b/i],
    ["pictures", /\bpictures?\b|\bimages?\b|\bthumbnails?\b|\bcrops?\b/i],
  ];

  // Sentences on what is missing, by kind; `rest` gives the sentences that `about` has not given.
  polyscan.Missing = class {
    constructor(sentences) {
      const kindOf = (sentence) => (KINDS.find(([, pattern]) => pattern.test(sentence)) || [""])[0];
      this.entries = sentences.map((sentence) => ({ kind: kindOf(sentence), sentence }));
      this.used = new Set();
    }

    about(kind) {
      const entries = this.entries.filter((entry) => entry.kind === kind);
      for (const entry of entries) this.used.add(entry);
      return entries.map((entry) => entry.sentence).join(" ") || null;
    }

    rest() {
      return this.entries.filter((entry) => !this.used.has(entry)).map((entry) => entry.sentence);
    }
  };
})();
