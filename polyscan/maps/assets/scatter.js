// Plots two columns against each other, one point per unit. Points are painted; one real link is put over the nearest.
(function () {
  "use strict";
  const polyscan = window.polyscan;
  const REACH = 14; // pixels between pointer and point
  const SPREAD = 0.36; // share of a step over which equal counts are jittered, so that they do not hide each other
  const GOLDEN = 0.6180339887498949;

  polyscan.Scatter = class {
    // units: see layer.js; across and up: the columns; show(unit, frame, x, y): shows the tooltip of a unit, or hides it
    // for -1.
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
      const label = `${up.label} against ${across.label}, ${shown.length} units; the table of units has the numbers`;
      const drawing = polyscan.plotSvg(frame, label);
      this.x.draw(drawing, "x", box);
      this.y.draw(drawing, "y", box);
      drawing.append(polyscan.svg("path", { class: "axis", d: `M${box.left} ${box.top}V${box.bottom}H${box.right}` }));
      this.points = shown.map((unit) => [this.pixel(this.x, across, unit), this.pixel(this.y, up, unit)]);
      this.paint();
    }

    // The position of a unit on an axis; units with the same count are spread within its step.
    pixel(axis, column, unit) {
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
      const context = canvas.getContext("2d");
      context.scale(ratio, ratio);
      const style = getComputedStyle(frame);
      const size = this.points.length > 600 ? 2 : 3;
      const several = this.shown.map((unit) => this.units.verdicts.group(unit) === "several");
      const colors = ["--plot", "--plot-several"].map((name) => style.getPropertyValue(name));
      context.globalAlpha = this.points.length > 300 ? 0.6 : 0.8;
      this.points.forEach(function ([x, y], place) { // in the order of channels, so that neither kind hides the other
        context.fillStyle = colors[Number(several[place])];
        context.beginPath();
        if (several[place]) diamond(context, x, y, size + 1);
        else context.arc(x, y, size, 0, 2 * Math.PI);
        context.fill();
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
      link.addEventListener("focus", () => this.showTooltip(this.marked));
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
      this.showTooltip(place);
    }

    // Touch has no hover: the first tap shows the unit, the second tap opens it.
    touch(event) {
      const before = this.link.classList.contains("on") ? this.marked : -1;
      this.follow(event);
      this.isFirstTap = event.pointerType === "touch" && before !== this.marked;
    }

    nearest(x, y) {
      let best = -1;
      let least = REACH * REACH;
      this.points.forEach(function ([left, top], place) {
        const distance = (left - x) ** 2 + (top - y) ** 2;
        if (distance <= least) [best, least] = [place, distance];
      });
      return best;
    }

    showTooltip(place) {
      this.link.classList.add("on");
      this.show(this.shown[place], this.frame, ...this.points[place]);
    }

    hide() {
      this.link.classList.remove("on");
      this.show(-1);
    }

    step(event) {
      const last = this.order.length - 1;
      const at = this.order.indexOf(this.marked);
      const to = { ArrowLeft: at - 1, ArrowDown: at - 1, ArrowRight: at + 1, ArrowUp: at + 1, Home: 0, End: last }[event.key];
      if (to === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      this.mark(this.order[Math.max(0, Math.min(last, to))]);
      this.showTooltip(this.marked);
    }
  };

  // The live units that have a number in each of these columns.
  polyscan.drawable = function (units, columns) {
    const drawable = [];
    for (let unit = 0; unit < units.count; unit++) {
      if (!units.isDead(unit) && columns.every((column) => Number.isFinite(column.values()[unit]))) drawable.push(unit);
    }
    return drawable;
  };

  function diamond(context, x, y, size) {
    context.moveTo(x, y - size);
    context.lineTo(x + size, y);
    context.lineTo(x, y + size);
    context.lineTo(x - size, y);
    context.closePath();
  }
})();
