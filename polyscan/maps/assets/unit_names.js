// Units by name: which there are, what an address or a field names, and what to say of names that name nothing.
(function () {
  "use strict";
  const polyscan = (window.polyscan = window.polyscan || {});
  const MOST_LAYERS = 5;

  // A unit is [layer's place, channel]; `index` is the content of #unit-index.
  polyscan.UnitNames = class {
    constructor(index) {
      this.layers = index.layers;
      this.channels = new Map();
    }

    name([place, channel]) {
      return `${this.layers[place].name}:${channel}`;
    }

    hash([place, channel]) {
      return `#${encodeURIComponent(this.layers[place].name)}:${channel}`;
    }

    // The layer's scanned channels, rising; null where all of them were.
    scanned(place) {
      const packed = this.layers[place].channels;
      if (packed && !this.channels.has(place)) this.channels.set(place, Array.from(polyscan.unpacked(packed)));
      return packed ? this.channels.get(place) : null;
    }

    // The unit that many scanned units further on in its layer, or null.
    beside([place, channel], step) {
      const known = this.scanned(place);
      const at = known ? known.indexOf(channel) + step : channel + step;
      if (at < 0 || at >= (known ? known.length : this.layers[place].n_units)) return null;
      return [place, known ? known[at] : at];
    }

    // What an address holds behind its #, as people write it: `layer:unit`.
    asWritten(text) {
      const colon = text.lastIndexOf(":");
      try {
        return colon < 0 ? decodeURIComponent(text) : `${decodeURIComponent(text.slice(0, colon))}:${text.slice(colon + 1)}`;
      } catch {
        return text; // a per cent sign that stands for itself
      }
    }

    // { unit } that the words name, or { fault }, the sentence that says why they name none.
    parse(text) {
      const colon = text.lastIndexOf(":");
      const layer = colon < 0 ? text : text.slice(0, colon);
      const place = this.place(layer);
      if (place < 0 && this.place(text) >= 0) return this.lacking(text, this.place(text)); // a layer with a colon in its name
      if (place < 0) return { fault: `No layer is called “${layer}” in this network. ${this.near(layer)}` };
      const digits = colon < 0 ? "" : text.slice(colon + 1);
      if (!/^\d{1,9}$/.test(digits)) return this.lacking(text, place);
      const channel = Number(digits);
      if (channel >= this.layers[place].n_units) return { fault: `${layer} has no unit ${channel}. ${this.holds(place)}` };
      const known = this.scanned(place);
      if (known && !known.includes(channel)) return { fault: `${layer}:${channel} was not scanned in this run. ${this.holds(place)}` };
      return { unit: [place, channel] };
    }

    place(layer) {
      return this.layers.findIndex((one) => one.name === layer);
    }

    lacking(text, place) {
      const known = this.scanned(place);
      const first = known && known.length ? known[0] : 0;
      return { fault: `“${text}” names no unit. ${this.holds(place)} Add one, as in ${this.name([place, first])}.` };
    }

    holds(place) {
      const { name, n_units: count } = this.layers[place];
      const known = this.scanned(place);
      if (!count || (known && !known.length)) return `${name} holds no scanned unit.`;
      if (!known) return `It holds units 0 to ${count - 1}.`;
      const [low, high] = [known[0], known[known.length - 1]];
      return `${polyscan.countText(known.length)} of its ${polyscan.countText(count)} units were scanned, between ${low} and ${high}.`;
    }

    near(text) {
      const wanted = text.toLowerCase();
      const like = this.layers.filter((layer) => wanted && layer.name.toLowerCase().includes(wanted));
      const all = like.length ? like : this.layers;
      const some = all.slice(0, MOST_LAYERS).map((layer) => layer.name);
      return `${like.length ? "Like it" : "Its layers"}: ${some.join(", ")}${all.length > MOST_LAYERS ? " and others" : ""}.`;
    }
  };
})();
