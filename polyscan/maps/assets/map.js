// The network map: each pixel shows exactly one unit.
// Neighbours are never mixed: in a row with more units than pixels, a pixel shows one of its units.
(function () {
  "use strict";
  const polyscan = window.polyscan;
  const CHANNEL = ":channel";

  polyscan.NetworkMap = class {
    constructor(data) {
      this.columns = polyscan.columns(data.columns);
      this.isDead = polyscan.flags(data.dead);
      this.verdicts = polyscan.verdicts(data.verdict);
      this.colors = data.colors;
      this.total = data.layers.reduce((before, layer) => before + layer.count, 0);
      let first = 0;
      this.layers = data.layers.map(function (layer) {
        const withFirst = Object.assign({ first: first }, layer);
        first += layer.count;
        return withFirst;
      });
      this.widest = Math.max(1, ...this.layers.map((layer) => layer.count));
      this.layerOf = new Int32Array(this.total);
      this.layers.forEach((layer, place) => this.layerOf.fill(place, layer.first, layer.first + layer.count));
      this.channel = data.channel ? polyscan.unpacked(data.channel) : this.wholeLayers();
      this.isLowQ = data.lowQ ? polyscan.flags(data.lowQ) : () => false;
      this.loader = new polyscan.ColumnLoader(this.columns, data.run);
      this.orders = new Map();
    }

    // The channels if all channels of every layer are on the map.
    wholeLayers() {
      const channels = new Int32Array(this.total);
      for (const { first, count } of this.layers) for (let i = 0; i < count; i++) channels[first + i] = i;
      return channels;
    }

    column(name) {
      return this.columns.find((column) => column.name === name);
    }

    name(unit) {
      return this.layers[this.layerOf[unit]].name + ":" + this.channel[unit];
    }

    address(unit) {
      const layer = this.layers[this.layerOf[unit]].name;
      return "unit.html#" + encodeURIComponent(layer) + ":" + this.channel[unit];
    }

    // Why a unit has no colour; empty if it has a colour.
    fate(unit, by) {
      if (this.isDead(unit)) return "dead unit";
      return Number.isFinite(this.column(by).values()[unit]) ? "" : "without this score";
    }

    // The unit with this channel in the layer at this place, or -1.
    unit(place, channel) {
      const { first, count } = this.layers[place];
      const index = this.channel.subarray(first, first + count).indexOf(channel);
      return index < 0 ? -1 : first + index;
    }

    // Whether the choice in the menu shows this unit.
    matches(unit, verdict) {
      return verdict === "low-q" ? this.isLowQ(unit) : this.verdicts.group(unit) === verdict;
    }

    // The units of each layer in four parts: sorted live and scored units, unscored units, dead units, and live units
    // with another verdict than the chosen one.
    order(by, sort, verdict) {
      const key = [by, sort, verdict].join("\n");
      if (!this.orders.has(key)) this.orders.set(key, this.sorted(by, sort, verdict));
      return this.orders.get(key);
    }

    sorted(by, sort, verdict) {
      const values = this.column(by).values();
      const keys = sort === CHANNEL ? this.channel : this.column(sort || by).values();
      const order = { units: new Int32Array(this.total), rank: new Int32Array(this.total), parts: [] };
      for (const { first, count } of this.layers) {
        const parts = verdict ? [[], [], [], []] : [[], [], []];
        for (let unit = first; unit < first + count; unit++) {
          const isOther = verdict && !this.matches(unit, verdict);
          parts[this.isDead(unit) ? 2 : isOther ? 3 : Number.isFinite(values[unit]) ? 0 : 1].push(unit);
        }
        parts[0].sort((a, b) => rising(keys[a], keys[b]) || rising(values[a], values[b]) || a - b);
        parts.flat().forEach(function (unit, rank) {
          order.rank[unit] = rank;
          order.units[first + rank] = unit;
        });
        order.parts.push(parts.map((part) => part.length));
      }
      return order;
    }

    // Lays out the rows in device pixels and stores which unit each pixel shows.
    layOut(state, frame) {
      this.frame = frame;
      this.state = state;
      const order = (this.current = this.order(state.by, state.sort, state.verdict));
      const heights = this.heights(state.by);
      this.cells = new Int32Array(this.layers.length * frame.width).fill(-1);
      this.spans = this.layers.map((layer, place) => {
        const share = state.width === "true" ? layer.count / this.widest : 1;
        const width = layer.count ? Math.min(frame.width, Math.max(3, Math.round(frame.width * share))) : 0;
        const spans = split(width, order.parts[place]);
        let from = layer.first;
        for (const span of spans) {
          const units = order.units.subarray(from, from + span.count);
          const shown = state.sort ? extremes(units, span.width, heights) : evenly(units, span.width);
          this.cells.set(shown, place * frame.width + span.start);
          from += span.count;
        }
        return spans;
      });
    }

    // The values on the scale of the colours, so that distances here are distances in colour.
    heights(by) {
      const column = this.column(by);
      return column.kind === "p" ? column.values().map((value) => Math.log(Math.max(value, 1e-30))) : column.values();
    }

    paint(canvas, theme) {
      const { width, height, pitch, row, label } = this.frame;
      const context = canvas.getContext("2d", { willReadFrequently: true }); // pixels are computed in memory
      const image = context.createImageData(width, height);
      const pixels = new Uint32Array(image.data.buffer);
      const column = this.column(this.state.by);
      const values = column.values();
      const scale = new polyscan.Scale(column, this.colors);
      const table = scale.pixels();
      const line = new Uint32Array(width);
      this.spans.forEach((spans, place) => {
        const top = place * pitch + label;
        const [live] = spans;
        for (let x = 0; x < live.width; x++) line[x] = table[scale.at(values[this.cells[place * width + x]])];
        for (let y = top; y < top + row; y++) {
          pixels.set(line.subarray(0, live.width), y * width);
          for (const span of spans.slice(1)) hatch(pixels, y, width, span, theme);
        }
      });
      context.putImageData(image, 0, 0);
    }

    // The unit under a point of the canvas, in device pixels; -1 between rows and beyond their ends.
    unitAt(x, y) {
      const { width, pitch, row, label } = this.frame;
      const place = Math.floor(y / pitch);
      const within = y - place * pitch - label;
      if (x < 0 || x >= width || place < 0 || place >= this.layers.length || within < 0 || within > row) return -1;
      return this.cells[place * width + Math.floor(x)];
    }

    // The box of a unit in device pixels; the pixel itself if several units share one.
    box(unit) {
      const { pitch, row, label } = this.frame;
      const place = this.layerOf[unit];
      let rank = this.current.rank[unit];
      let span = this.spans[place][0];
      for (span of this.spans[place]) {
        if (rank < span.count) break;
        rank -= span.count;
      }
      const { start, count, width } = span;
      const top = place * pitch + label;
      if (count <= width) {
        const left = Math.ceil((rank * width) / count);
        return { left: start + left, top: top, width: Math.ceil(((rank + 1) * width) / count) - left, height: row };
      }
      const pixel = this.state.sort ? Math.floor((rank * width) / count) : Math.round((rank * (width - 1)) / Math.max(1, count - 1));
      return { left: start + pixel, top: top, width: 1, height: row };
    }

    // The unit this many rows or ranks away; a step to another row keeps the relative place.
    step(unit, rows, ranks) {
      const from = this.layers[this.layerOf[unit]];
      let place = this.layerOf[unit];
      const rank = this.current.rank[unit];
      if (!rows) return this.current.units[from.first + clamp(rank + ranks, 0, from.count - 1)];
      do place += Math.sign(rows);
      while (place > 0 && place < this.layers.length - 1 && !this.layers[place].count);
      const to = this.layers[place];
      if (!to || !to.count) return unit;
      return this.current.units[to.first + clamp(Math.round(((rank + 0.5) / from.count) * to.count - 0.5), 0, to.count - 1)];
    }
  };

  function rising(a, b) {
    if (a === b) return 0;
    if (Number.isNaN(a)) return Number.isNaN(b) ? 0 : 1;
    return Number.isNaN(b) || a < b ? -1 : 1;
  }

  function clamp(value, low, high) {
    return Math.max(low, Math.min(high, value));
  }

  function sum(numbers) {
    return numbers.reduce((before, number) => before + number, 0);
  }

  // Splits the width in proportion to the counts; a part that has units gets at least one pixel.
  function split(width, counts) {
    const total = sum(counts);
    const widths = counts.map((count) => (count ? Math.max(1, Math.round((width * count) / Math.max(1, total))) : 0));
    const widest = widths.indexOf(Math.max(...widths));
    widths[widest] += width - sum(widths);
    let start = 0;
    return counts.map(function (count, part) {
      const span = { part: part, count: count, start: start, width: count ? widths[part] : 0 };
      start += span.width;
      return span;
    });
  }

  // Spreads units over the pixels in their order; the first and the last unit are always shown.
  function evenly(units, width) {
    const shown = new Int32Array(width);
    const count = units.length;
    for (let x = 0; x < width; x++) {
      if (count <= width) shown[x] = units[Math.floor((x * count) / width)];
      else shown[x] = units[width > 1 ? Math.round((x * (count - 1)) / (width - 1)) : count >> 1];
    }
    return shown;
  }

  // For each pixel the unit furthest from the median of the row.
  function extremes(units, width, values) {
    const count = units.length;
    if (count <= width) return evenly(units, width);
    const known = Float64Array.from(units, (unit) => values[unit]).sort();
    const median = known[count >> 1];
    const shown = new Int32Array(width);
    for (let x = 0; x < width; x++) {
      const from = Math.floor((x * count) / width);
      let best = units[from];
      for (let i = from + 1; i < Math.floor(((x + 1) * count) / width); i++) {
        if (Math.abs(values[units[i]] - median) > Math.abs(values[best] - median)) best = units[i];
      }
      shown[x] = best;
    }
    return shown;
  }

  // Dead units are hatched in one direction, unscored units in the other, and units with other verdicts are blank; none of
  // them has a colour of the scale.
  function hatch(pixels, y, width, span, theme) {
    if (span.part === 3) return void pixels.fill(theme.blank, y * width + span.start, y * width + span.start + span.width);
    for (let x = span.start; x < span.start + span.width; x++) {
      const along = span.part === 2 ? x + y : x - y + (1 << 20) * theme.period;
      pixels[y * width + x] = along % theme.period < theme.thick ? theme.ink : theme.paper;
    }
  }
})();
