// The table of a layer's units: every unit has a line from the start; its pictures are loaded when the line is visible.
(function () {
  "use strict";
  const polyscan = window.polyscan;
  const CHANNEL = ":channel";
  const VERDICT = ":verdict";
  const LEVEL = 0.05;
  const MOST_TILES = 6;
  const TILE = 48; // CSS pixels of the longest side
  const AHEAD = "150px 0px"; // distance beyond the window within which lines get their pictures

  polyscan.UnitTable = class {
    // box: the element for the table; units: see layer.js; sort(key): called by a click on the head of a column.
    constructor(box, units, blocks, sort) {
      this.box = box;
      this.units = units;
      this.blocks = blocks;
      this.keys = [
        { key: CHANNEL, label: "unit", name: "channel", help: "channel; a link to the unit's page", first: "up" },
        { label: "pictures", name: "pictures", help: "the strongest pictures of each cluster, largest cluster first" },
      ];
      const verdict = { key: VERDICT, label: "verdict", name: "said", help: "the verdict on the unit", first: "up" };
      if (units.hasVerdicts) this.keys.push(verdict);
      for (const { name, label, help, kind } of units.columns) {
        this.keys.push({ key: name, label, name: "number", help, first: kind === "p" ? "up" : "down" });
      }
      this.table = polyscan.element("table", { class: "units", role: "table" });
      this.table.style.setProperty("--columns", units.columns.length);
      this.table.classList.toggle("without-verdicts", !units.hasVerdicts);
      this.heads = new Map();
      this.table.append(this.head(sort));
      this.body = polyscan.element("tbody", { role: "rowgroup" });
      this.rows = this.lines();
      this.table.append(this.body);
      box.append(this.table);
      this.watch();
    }

    head(sort) {
      const line = polyscan.element("tr", { role: "row" });
      for (const { key, label, name, help } of this.keys) {
        const cell = polyscan.element("th", { role: "columnheader", scope: "col", class: name, title: help || "" });
        if (key) {
          const button = polyscan.element("button", { type: "button" }, label);
          button.addEventListener("click", () => sort(key));
          cell.append(button);
          this.heads.set(key, cell);
        } else cell.textContent = label;
        line.append(cell);
      }
      const rowgroup = polyscan.element("thead", { role: "rowgroup" });
      rowgroup.append(line);
      return rowgroup;
    }

    // A line without a unit; it is copied, which is much faster than making each line.
    pattern() {
      const line = cell("tr", "row");
      const head = cell("th", "rowheader", "channel");
      head.scope = "row";
      head.append(polyscan.element("a", {}, " "));
      line.append(head, cell("td", "cell", "pictures"));
      if (this.units.hasVerdicts) line.append(cell("td", "cell", "said", " "));
      for (let i = 0; i < this.units.columns.length; i++) line.append(cell("td", "cell", "number", " "));
      return line;
    }

    lines() {
      const { units } = this;
      const pattern = this.pattern();
      const values = units.columns.map((column) => column.values());
      return Array.from({ length: units.count }, function (_, unit) {
        const line = pattern.cloneNode(true);
        line.id = `unit-${units.channels[unit]}`;
        if (units.isDead(unit)) line.className = "dead";
        const link = line.firstChild.firstChild;
        link.href = units.address(unit);
        link.firstChild.data = units.channels[unit];
        let next = line.childNodes[2];
        if (units.hasVerdicts) {
          next.firstChild.data = units.verdicts.word(unit) || "–";
          next = next.nextSibling;
        }
        for (let i = 0; i < values.length; i++, next = next.nextSibling) {
          next.firstChild.data = polyscan.numberText(values[i][unit], units.columns[i].kind);
        }
        return line;
      });
    }

    // --- which lines, in which order ---

    // state: sort, direction, verdict, onlyQ, text. Returns the number of lines shown.
    apply(state) {
      this.order = this.sorted(state).filter((unit) => this.fits(unit, state));
      const lines = document.createDocumentFragment();
      for (const unit of this.order) lines.append(this.rows[unit]);
      this.body.replaceChildren(lines);
      for (const [key, head] of this.heads) {
        if (key === state.sort) head.setAttribute("aria-sort", state.direction === "up" ? "ascending" : "descending");
        else head.removeAttribute("aria-sort");
      }
      return this.order.length;
    }

    // Units without a number come last in both directions; ties are sorted by channel.
    sorted({ sort, direction }) {
      const all = Array.from({ length: this.units.count }, (_, unit) => unit);
      const keys = this.sortKeys(sort);
      const sign = direction === "up" ? 1 : -1;
      return all.sort(function (a, b) {
        const [first, second] = [keys[a], keys[b]];
        if (isMissing(first) || isMissing(second)) return isMissing(first) - isMissing(second) || a - b;
        return first === second ? a - b : first < second ? -sign : sign;
      });
    }

    sortKeys(sort) {
      if (sort === CHANNEL) return this.units.channels;
      if (sort === VERDICT) return Array.from({ length: this.units.count }, (_, unit) => this.units.verdicts.word(unit));
      return this.units.column(sort).values();
    }

    fits(unit, { verdict, onlyQ, text }) {
      const { units } = this;
      if (verdict && units.verdicts.group(unit) !== verdict) return false;
      if (onlyQ && !(units.q.values()[unit] < LEVEL)) return false;
      const lowered = text.trim().toLowerCase();
      return !lowered || String(units.channels[unit]).includes(lowered) || units.verdicts.word(unit).toLowerCase().includes(lowered);
    }

    // The direction of sorting after the first click on the head of a column.
    first(key) {
      return this.keys.find((column) => column.key === key).first;
    }

    has(key) {
      return this.heads.has(key);
    }

    // Scrolls to the line of a unit; false if it is not shown.
    show(unit) {
      for (const line of this.body.querySelectorAll(".asked")) line.classList.remove("asked");
      if (!this.order.includes(unit)) return false;
      this.rows[unit].classList.add("asked");
      this.rows[unit].scrollIntoView({ block: "center" });
      return true;
    }

    // --- pictures ---

    watch() {
      const observer = new IntersectionObserver((entries) => {
        for (const { isIntersecting, target } of entries) {
          if (!isIntersecting) continue;
          observer.unobserve(target);
          this.fill(this.rows.indexOf(target));
        }
      }, { rootMargin: AHEAD, scrollMargin: AHEAD });
      for (const line of this.rows) observer.observe(line);
    }

    fill(unit) {
      const place = this.rows[unit].querySelector(".pictures");
      const channel = this.units.channels[unit];
      this.blocks.load(this.units.place, channel).then(
        (block) => place.replaceChildren(...this.strip(block.units[channel], place)),
        (error) => showLoss(place, `No pictures: ${error.message}`),
      );
    }

    strip(unit, place) {
      const panel = unit && unit.panels[0];
      if (!unit) return [sentence("This unit is not in its data file.")];
      if (!panel || !unit.sprite) return [sentence(unit.missing[0] || "No pictures.")];
      const clusters = panel.clusters.filter((cluster) => cluster.tiles.length).slice(0, MOST_TILES);
      const tilesPerCluster = Math.floor(MOST_TILES / Math.max(1, clusters.length));
      const loss = `No pictures: ${unit.sprite.address} is missing or did not load.`;
      return clusters.map(function (cluster) {
        const group = polyscan.element("span", { class: "strip-cluster" });
        for (const [left, top, width, height, caption, title] of cluster.tiles.slice(0, tilesPerCluster)) {
          const tile = [left, top, width, height, "", [title, caption].filter(Boolean).join(" · ")];
          group.append(polyscan.tile(unit.sprite, tile, "../", TILE / Math.max(width, height)));
        }
        for (const image of group.querySelectorAll("img")) image.addEventListener("error", () => showLoss(place, loss));
        return group;
      });
    }
  };

  function cell(tag, role, name, text) {
    return polyscan.element(tag, name ? { role, class: name } : { role }, text);
  }

  function sentence(text) {
    return polyscan.element("span", { class: "strip-words", title: text }, text);
  }

  function showLoss(place, text) {
    place.replaceChildren(sentence(text));
    place.classList.add("lost");
  }

  function isMissing(value) {
    return value === "" || Number.isNaN(value);
  }
})();
