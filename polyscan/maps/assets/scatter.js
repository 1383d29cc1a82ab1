// Two columns against each other, one point per unit: points are painted, and one real link lies over the nearest one.
(function () {
  "use strict";
  const polyscan = window.polyscan;
  const REACH = 14; // pixels between pointer and point
  const SPREAD = 0.36; // of a whole step, so that equal counts do not hide each other
  const GOLDEN = 0.6180339887498949;

  polyscan.Scatter = class {
    // units: see layer.js; across and up: the columns; show(unit, x, y): tells of it, or hides what was told for -1.
    constructor(frame, units, across, up, show) {
      this.frame = frame;
      this.units = units;
      this.columns = { across, up };
      this.show = show;
      this.box = polyscan.plotBox(frame);
      this.shown = polyscan.drawable(units, [across, up]);
      this.draw();
      if (this.shown.length) this.addLink();
    }

    draw() {
      const { frame, box, shown } = this;
      const { across, up } = this.columns;
      const of = (column) => shown.map((unit) => column.values()[unit]);
      this.x = new polyscan.PlotAxis(across, of(across), box.left + 4, box.right - 4);
      this.y = new polyscan.PlotAxis(up, of(up), box.bottom - 4, box.top + 4);
      for (const axis of [this.x, this.y]) axis.isSpread = axis.column.kind === "count";
      const words = `${up.label} against ${across.label}, ${shown.length} units; the table of units holds the numbers`;
      const drawing = polyscan.plotSvg(frame, words);
      this.x.draw(drawing, "x", box);
      this.y.draw(drawing, "y", box);
      drawing.append(polyscan.svg("path", { class: "axis", d: `M${box.left} ${box.top}V${box.bottom}H${box.right}` }));
      this.points = shown.map((unit) => [this.at(this.x, across, unit), this.at(this.y, up, unit)]);
      this.paint();
    }

    // Where a unit lies on an axis; units of one count are spread within its step, each at a place of its own.
    at(axis, column, unit) {
      const value = column.values()[unit];
      if (column.kind !== "count") return axis.pixel(value);
      return axis.pixel(value + SPREAD * (2 * ((this.units.channels[unit] * GOLDEN) % 1) - 1));
    }

    paint() {
      const { frame, box } = this;
      const canvas = polyscan.element("canvas", { "aria-hidden": "true" });
      const ratio = window.devicePixelRatio || 1;
      const width = box.right + 8;
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(box.height * ratio);
      canvas.style.width = `${width}px`;
      canvas.style.height = `${box.height}px`;
      frame.append(canvas);
      const pen = canvas.getContext("2d");
      pen.scale(ratio, ratio);
      const style = getComputedStyle(frame);
      const size = this.points.length > 600 ? 2 : 3;
      const several = this.shown.map((unit) => this.units.verdicts.group(unit) === "several");
      const colors = ["--plot", "--plot-several"].map((name) => style.getPropertyValue(name));
      pen.globalAlpha = this.points.length > 300 ? 0.6 : 0.8;
      this.points.forEach(function ([x, y], place) { // in the order of channels, so that neither kind hides the other
        pen.fillStyle = colors[Number(several[place])];
        pen.beginPath();
        if (several[place]) diamond(pen, x, y, size + 1);
        else pen.arc(x, y, size, 0, 2 * Math.PI);
        pen.fill();
      });
    }

    addLink() {
      const link = (this.link = polyscan.element("a", { class: "point-link" }));
      this.order = this.points.map((_, place) => place).sort((a, b) => this.points[a][0] - this.points[b][0] || a - b);
      this.frame.append(link);
      this.mark(this.order[this.order.length - 1]);
      this.frame.addEventListener("pointermove", (event) => this.follow(event));
      this.frame.addEventListener("pointerdown", (event) => this.touch(event));
      this.frame.addEventListener("pointerleave", (event) => event.pointerType !== "touch" && this.hide());
      link.addEventListener("click", (event) => this.isFirstTap && event.preventDefault());
      link.addEventListener("focus", () => this.tell(this.marked));
      link.addEventListener("blur", () => this.hide());
      link.addEventListener("keydown", (event) => this.step(event));
    }

    mark(place) {
      const unit = this.shown[place];
      const { across, up } = this.columns;
      const number = (column) => `${column.label} ${polyscan.numberText(column.values()[unit], column.kind)}`;
      this.marked = place;
      this.link.href = this.units.address(unit);
      this.link.setAttribute("aria-label", `${this.units.name(unit)}, ${number(up)}, ${number(across)}; arrow keys go to other units`);
      this.link.style.left = `${this.points[place][0]}px`;
      this.link.style.top = `${this.points[place][1]}px`;
    }

    follow(event) {
      const outer = this.frame.getBoundingClientRect();
      const place = this.nearest(event.clientX - outer.left, event.clientY - outer.top);
      if (place < 0) return this.hide();
      this.mark(place);
      this.tell(place);
    }

    // A finger cannot hover: its first tap shows the unit, the second one opens it.
    touch(event) {
      const before = this.link.classList.contains("on") ? this.marked : -1;
      this.follow(event);
      this.isFirstTap = event.pointerType === "touch" && before !== this.marked;
    }

    nearest(x, y) {
      let best = -1;
      let least = REACH * REACH;
      this.points.forEach(function ([left, top], place) {
        const far = (left - x) ** 2 + (top - y) ** 2;
        if (far <= least) [best, least] = [place, far];
      });
      return best;
    }

    tell(place) {
      this.link.classList.add("on");
      this.show(this.shown[place], this.frame, ...this.points[place]);
    }

    hide() {
      this.link.classList.remove("on");
      this.show(-1);
    }

    step(event) {
      const last = this.order.length - 1;
      const now = this.order.indexOf(this.marked);
      const to = { ArrowLeft: now - 1, ArrowDown: now - 1, ArrowRight: now + 1, ArrowUp: now + 1, Home: 0, End: last }[event.key];
      if (to === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      this.mark(this.order[Math.max(0, Math.min(last, to))]);
      this.tell(this.marked);
    }
  };

  // The live units that have all of these numbers.
  polyscan.drawable = function (units, columns) {
    const made = [];
    for (let unit = 0; unit < units.count; unit++) {
      if (!units.isDead(unit) && columns.every((column) => Number.isFinite(column.values()[unit]))) made.push(unit);
    }
    return made;
  };

  function diamond(pen, x, y, size) {
    pen.moveTo(x, y - size);
    pen.lineTo(x + size, y);
    pen.lineTo(x, y + size);
    pen.lineTo(x - size, y);
    pen.closePath();
  }
})();
